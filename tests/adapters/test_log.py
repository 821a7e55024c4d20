"""Log lines: searchable tags, the fields every line has, and no secret in any of them."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from backstop.adapters.log import (
    STARS,
    LogFormat,
    Redactor,
    component_logger,
    configure_logging,
)

SECRET = 'k3y/with "quotes" & ümlaut+space '


class Revealed:
    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def configured(
    log_format: LogFormat = LogFormat.JSON, stream: io.StringIO | None = None
) -> io.StringIO:
    target = io.StringIO() if stream is None else stream
    redactor = Redactor()
    redactor.register(Revealed(SECRET))
    configure_logging(session_id="s-1", redactor=redactor, log_format=log_format, stream=target)
    return target


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize(
    "tag", ["[CriticalSystem]", "[CORRELATION_REJECT]", "[CRITICAL]", "[ORDER]", "[TRADE]"]
)
@pytest.mark.parametrize("log_format", [LogFormat.JSON, LogFormat.CONSOLE])
def test_a_text_search_for_a_tag_finds_its_lines(tag: str, log_format: LogFormat) -> None:
    for stream in (io.StringIO(), Terminal()):
        configured(log_format, stream)
        component_logger(tag).info("order_sent")
        assert tag in stream.getvalue()


def test_every_line_has_its_fields_and_the_important_ones_first() -> None:
    stream = configured()

    component_logger("[ORDER]").warning("order_unknown", waited_ms=500, seq=12)

    (line,) = lines(stream)
    assert list(line)[:6] == ["time", "level", "component", "event", "session_id", "seq"]
    assert line.pop("time")
    assert line == {
        "level": "warning",
        "component": "[ORDER]",
        "event": "order_unknown",
        "session_id": "s-1",
        "seq": 12,
        "waited_ms": 500,
    }


def test_lines_of_other_libraries_look_the_same() -> None:
    stream = configured()

    logging.getLogger("aiohttp.access").warning("slow answer: %d ms", 900)

    (line,) = lines(stream)
    assert line["event"] == "slow answer: 900 ms"
    assert line["session_id"] == "s-1"
    assert line["component"] == "library"


def test_lines_below_the_level_are_not_written() -> None:
    stream = configured()

    component_logger("[ORDER]").debug("detail")
    logging.getLogger("asyncio").debug("detail")

    assert stream.getvalue() == ""


@pytest.mark.parametrize("log_format", [LogFormat.JSON, LogFormat.CONSOLE])
def test_a_secret_is_struck_out_wherever_it_came_from(log_format: LogFormat) -> None:
    stream = configured(log_format)
    log = component_logger("[CriticalSystem]")

    log.info(SECRET, field=SECRET, nested={"list": [SECRET]})
    logging.getLogger("library").error("url https://x/?access_token=%s", SECRET)
    try:
        int(SECRET)
    except ValueError:
        log.exception("failed")

    assert "k3y" not in stream.getvalue()
    assert stream.getvalue().count(STARS) >= 5


def test_a_secret_in_a_url_is_struck_out() -> None:
    stream = configured()

    component_logger("[CRITICAL]").info(
        "failed", url="k3y%2Fwith%20%22quotes%22%20%26%20%C3%BCmlaut%2Bspace%20&x=1"
    )

    (line,) = lines(stream)
    assert line["url"] == f"{STARS}&x=1"


def test_a_secret_within_a_longer_one_leaves_nothing_standing() -> None:
    redactor = Redactor()
    redactor.register(Revealed("abcdef"))
    redactor.register(Revealed("abcdefghij"))

    assert redactor.redact("abcdefghij abcdef") == f"{STARS} {STARS}"


def test_very_short_values_are_left_alone() -> None:
    """Account 1 must not turn every 1 in the log into stars."""
    redactor = Redactor()
    redactor.register(Revealed("1"))
    redactor.register(None)

    assert redactor.redact("seq 11") == "seq 11"


def test_a_terminal_gets_colours_and_a_pipe_gets_json() -> None:
    terminal = Terminal()
    configured(LogFormat.AUTO, terminal)
    component_logger("[ORDER]").info("order_sent")
    pipe = configured(LogFormat.AUTO)
    component_logger("[ORDER]").info("order_sent")
    file = configured(LogFormat.CONSOLE)
    component_logger("[ORDER]").info("order_sent")

    assert "\x1b[" in terminal.getvalue()
    assert lines(pipe)[0]["event"] == "order_sent"
    assert "\x1b[" not in file.getvalue()


def test_a_value_that_json_does_not_know_does_not_break_the_line() -> None:
    stream = configured()

    component_logger("[ORDER]").info("odd", value=object, secret=Revealed("x"))

    assert "class" in str(lines(stream)[0]["value"])


@pytest.mark.parametrize(
    "text",
    [
        "token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ0cmFkZXIifQ.c2lnbmF0dXJl was refused",
        '{"Authorization": "Bearer opaque-session-token-1"}',
        "wss://rtc.example/hubs/user?access_token=opaque-session-token-1&id=7",
    ],
)
def test_a_session_token_is_struck_out_although_nobody_registered_it(text: str) -> None:
    redacted = Redactor().redact(text)

    assert STARS in redacted
    assert not any(secret in redacted for secret in ("eyJ", "opaque-session"))


@pytest.mark.parametrize("text", ["eyJ is how a JWT begins", "Bearer", "access_token="])
def test_words_about_tokens_stay(text: str) -> None:
    assert Redactor().redact(text) == text
