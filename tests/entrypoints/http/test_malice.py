"""Names and bodies that are meant to do harm: each is refused in words, and nothing happens."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import requests
from tests.entrypoints.http.target import Target, a_target

LIMIT_S = 20

NAMES = (
    "../../../etc/passwd",
    "..%2f..%2faudit.db",
    "a\r\nSet-Cookie: forged=1",
    "a\nlevel=critical event=forged",
    "\x00",
    "\x1b[2J\x1b[31mforged",
    "\u202egnp.exe",
    "' OR 1=1 --",
    "<script>alert(1)</script>",
    "${jndi:ldap://127.0.0.1/x}",
    "%s%n{0}{__class__}",
    "\U0001f4a5" * 40,
    "a" * 10_000,
)
"""Of a path, a log line, a terminal, a database, a page, a format string; and just too long."""

PLACES = (
    ("GET", "/v1/orders/{}"),
    ("PATCH", "/v1/orders/{}"),
    ("DELETE", "/v1/orders/{}"),
    ("POST", "/v1/orders/{}/verify"),
    ("GET", "/v1/orders/{}/proof"),
    ("GET", "/v1/liquidations/{}"),
    ("POST", "/v1/positions/{}/close"),
    ("PUT", "/v1/positions/{}/protection"),
    ("POST", "/v1/bots/{}/heartbeat"),
    ("DELETE", "/v1/bots/{}"),
    ("POST", "/v1/alerts/{}/ack"),
    ("GET", "/v1/audit/proof/{}"),
)

ORDER = (
    b'{"client_order_id": "harm", "symbol": "MES", "side": "BUY", "type": "MARKET", "quantity": 1'
)
WISHES = {
    "nested": b"[" * 30_000 + b"]" * 30_000,
    "nested members": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "twice": ORDER + b', "quantity": 100}',
    "twice, one escaped": ORDER + b', "quant\\u0069ty": 100}',
    "nan": ORDER + b', "stop_loss_price": NaN}',
    "infinity": ORDER + b', "stop_loss_price": -Infinity}',
    "many digits": ORDER[:-1] + b"9" * 5_000 + b"}",
    "exponent": ORDER + b', "stop_loss_price": 1e999999999999}',
    "a name of the language": ORDER + b', "__class__": "x"}',
    "other digits": ORDER[:-1] + '"\u0661"}'.encode(),
    "no utf-8": ORDER + b', "strategy_id": "\xff"}',
    "half a character": ORDER + b', "strategy_id": "\\ud800"}',
    "a mark in front": b"\xef\xbb\xbf[]",
    "utf-16": (ORDER + b"}").decode().encode("utf-16") + b"!",
    "two bodies": ORDER + b"}" + ORDER + b"}",
}


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("malice")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        with a_target(folder, STOP_REQUIRED=False) as made:
            yield made


def ask(target: Target, method: str, path: str, **options: Any) -> requests.Response:
    headers = {**target.headers, **options.pop("headers", {})}
    return requests.request(
        method,
        target.url + path,
        headers=headers,
        timeout=LIMIT_S,
        allow_redirects=False,
        **options,
    )


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_name_that_is_meant_to_do_harm_names_nothing(target: Target, name: str) -> None:
    before = target.state()

    for method, place in PLACES:
        body = {"quantity": 1} if method == "PATCH" else {"stop_price": "1"}
        given = {"json": body} if method in {"PATCH", "PUT"} else {}
        answer = ask(target, method, place.format(quote(name, safe="")), **given)

        assert 400 <= answer.status_code < 500, (method, place)
        assert "forged" not in answer.headers
        assert not any(it in answer.text for it in ("\r", "\n", "\x00", "\x1b"))
        if answer.headers["content-type"] == "application/json":
            assert len(answer.json()["error"]["message"]) < 1_000
    assert target.state() == before


@pytest.mark.parametrize("place", ["reason", "operator"])
@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\tb", "\x1b[2J", "\u2028", "\u202e", " ", ""])
def test_what_would_forge_a_line_of_the_record_is_refused(
    target: Target, place: str, text: str
) -> None:
    before = target.state()
    body = {"reason": "a reason", "operator": "ann", place: text}

    for path in ("/v1/halt", "/v1/resume", "/v1/liquidate"):
        answer = ask(target, "POST", path, json=body)

        assert (answer.status_code, answer.json()["error"]["field"]) == (422, place)
    assert target.state() == before


@pytest.mark.parametrize("what", WISHES)
def test_a_body_that_is_meant_to_do_harm_is_refused(target: Target, what: str) -> None:
    before, wishes = target.state(), target.wishes()

    for path in ("/v1/orders", "/v1/orders/validate"):
        answer = ask(target, "POST", path, data=WISHES[what])

        assert (answer.status_code, set(answer.json())) == (422, {"error"})
    assert (target.state(), target.wishes()) == (before, wishes)


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "multipart/form-data", ""])
def test_a_body_is_json_whatever_it_is_called(target: Target, kind: str) -> None:
    """A page of a browser may send such a body to us, but never with the token."""
    body = json.dumps({"symbol": "MES", "side": "BUY", "quantity": 1, "type": "MARKET"})

    answer = ask(target, "POST", "/v1/orders/validate", data=body, headers={"Content-Type": kind})
    page = requests.post(
        f"{target.url}/v1/orders/validate",
        data=body,
        headers={"Content-Type": kind, "Origin": "http://127.0.0.1:1"},
        timeout=LIMIT_S,
    )

    assert (answer.status_code, answer.json()["denials"]) == (200, [])
    assert page.status_code == 403
