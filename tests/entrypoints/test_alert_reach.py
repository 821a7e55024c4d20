"""Whether an alert channel can be reached is asked without sending anything."""

import socket
import warnings
from queue import SimpleQueue
from threading import Thread
from typing import Any

import apprise
import pytest

from backstop.entrypoints import alert_reach
from backstop.entrypoints.alert_reach import Lookout, address_of, unreachable

PATIENCE_S = 30


def a_sender(url: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries that its plug-ins try to load
        sender = apprise.Apprise.instantiate(url)
    assert sender is not None, url
    return sender


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("json://127.0.0.1:8123/alerts", ("127.0.0.1", 8123)),
        ("jsons://hooks.example.org/alerts", ("hooks.example.org", 443)),
        ("json://[::1]:8123/alerts", ("::1", 8123)),
        ("gotify://gotify.example.org/abcdefgh1234567", ("gotify.example.org", 80)),
        ("discord://webhook_id/webhook_token", ("discord.com", 443)),
        ("tgram://123456789:abcdefg_hijklmnop/123", ("api.telegram.org", 443)),
        (
            "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
            ("hooks.slack.com", 443),
        ),
        ("mailtos://me:word@example.org?smtp=mx.example.org", ("mx.example.org", 587)),
    ],
)
def test_a_service_is_knocked_at_where_its_alerts_go(url: str, address: tuple[str, int]) -> None:
    assert address_of(a_sender(url), {}) == address


@pytest.mark.parametrize(
    "url", ["ntfy://a-topic", "syslog://", "mailgun://me@example.org/" + "a" * 40 + "-b1-c2"]
)
def test_what_has_no_server_in_its_address_is_left_alone(url: str) -> None:
    assert address_of(a_sender(url), {}) is None


def test_behind_a_proxy_it_is_the_proxy_that_must_answer() -> None:
    proxies = {"https": "http://between.example.org:3128"}

    assert address_of(a_sender("discord://id_of_it/token"), proxies) == (
        "between.example.org",
        3128,
    )
    assert address_of(a_sender("json://127.0.0.1:8123/"), proxies) == ("127.0.0.1", 8123)


def test_a_knock_sends_nothing() -> None:
    heard: SimpleQueue[bytes] = SimpleQueue()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            connection, _ = server.accept()
            with connection:
                heard.put(connection.recv(1))

        listening = Thread(target=listen)
        listening.start()
        fault = unreachable(("127.0.0.1", server.getsockname()[1]))
        listening.join(PATIENCE_S)

    assert fault == ""
    assert heard.get(timeout=PATIENCE_S) == b""


def test_a_closed_port_says_why_and_shows_no_address() -> None:
    assert unreachable(("127.0.0.1", 1)) == "Connection refused"


def test_a_name_that_nobody_knows_is_told_without_the_name() -> None:
    fault = unreachable(("s3cret.invalid", 80))

    assert fault
    assert "s3cret" not in fault


def test_a_channel_that_comes_back_is_told_once_and_left_alone(monkeypatch: Any) -> None:
    monkeypatch.setattr(alert_reach, "AGAIN_S", 0.01)
    told: SimpleQueue[tuple[int, str]] = SimpleQueue()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # ours, and nobody listens yet
        sender = a_sender(f"json://127.0.0.1:{taken.getsockname()[1]}/alerts")
        lookout = Lookout.begin({3: sender}, lambda number, fault: told.put((number, fault)))
        assert told.get(timeout=PATIENCE_S) == (3, "Connection refused")
        taken.listen()
        while (said := told.get(timeout=PATIENCE_S))[1]:
            assert said[0] == 3
        lookout.end()

    assert said == (3, "")
