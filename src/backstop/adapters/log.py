"""Structured logging to stderr: JSON lines for machines, colours for a terminal, never a secret.

Every line has ``component``; the specification's tags such as ``[ORDER]`` stand in it letter for
letter, so that a text search finds them in both forms. Lines of other libraries take the same way.
Secrets print as stars by their own type; what is registered here is struck out of every finished
line as well, wherever it came from.
"""

import json
import logging
import re
import sys
from collections.abc import Iterator, MutableMapping
from enum import StrEnum
from typing import Any, Protocol, TextIO
from urllib.parse import quote, quote_plus

import structlog
from structlog.typing import EventDict, Processor

STARS = "**********"

MIN_SECRET_LENGTH = 6
"""Shorter values are not struck out: they occur in ordinary words and numbers."""

_SESSION_TOKENS = re.compile(
    r"eyJ[\w-]{6,}\.[\w-]{2,}\.[\w-]*"  # a JWT, wherever it stands
    r"|(?<=access_token=)[^&\s\"']+"  # in the address of a hub
    r"|(?<=Bearer )[\w.~+/-]{6,}=*"
)
"""Session tokens come and go while the process runs: they are known by their form."""

_TOKEN_SIGNS = ("eyJ", "access_token=", "Bearer ")
"""One of them stands in every text with a session token: to look for them costs next to nothing."""

_JWT = re.compile(rb"eyJ[\w-]{6,}\.[\w-]{2,}\.")
"""Where one could stand in an answer. JSON in base64 begins as one does, but has no dots."""

LIBRARY_COMPONENT = "library"
"""The component of lines that other libraries write."""


class LogFormat(StrEnum):
    """How a line looks."""

    AUTO = "auto"  # console on a terminal, else JSON
    JSON = "json"
    CONSOLE = "console"


class RevealsSecret(Protocol):
    """A value that prints as stars and can be asked for the truth."""

    def reveal(self) -> str:
        """Return the secret itself."""


class Redactor:
    """Strikes registered secrets out of text in all their spellings, and any session token."""

    def __init__(self) -> None:
        self._spellings: dict[str, None] = {}
        self._marks: tuple[bytes, ...] = ()

    def register(self, secret: RevealsSecret | None) -> None:
        """Strike ``secret`` out from now on; None and very short values are left alone."""
        value = "" if secret is None else secret.reveal()
        if len(value) < MIN_SECRET_LENGTH:
            return
        for spelling in _spellings(value):
            self._spellings[spelling] = None
        # The longest first, so that no part of a longer one is left standing.
        self._spellings = dict.fromkeys(sorted(self._spellings, key=len, reverse=True))
        self._marks = tuple(spelling.encode() for spelling in self._spellings)

    def redact(self, text: str) -> str:
        """Return ``text`` with stars in place of every registered secret and session token."""
        for spelling in self._spellings:
            text = text.replace(spelling, STARS)
        if any(sign in text for sign in _TOKEN_SIGNS):
            return _SESSION_TOKENS.sub(STARS, text)
        return text

    def redact_bytes(self, body: bytes) -> bytes:
        """Return ``body`` redacted; one without a secret comes back as it is, and fast."""
        if not any(mark in body for mark in self._marks) and _JWT.search(body) is None:
            return body
        return self.redact(body.decode("utf-8", errors="surrogateescape")).encode(
            "utf-8", errors="surrogateescape"
        )


def configure_logging(
    *,
    session_id: str,
    redactor: Redactor,
    log_format: LogFormat = LogFormat.AUTO,
    level: int = logging.INFO,
    stream: TextIO | None = None,
) -> None:
    """Send every log line of this process to ``stream`` (stderr if None).

    Args:
        session_id: names this run of the guard; stands on every line.
        redactor: strikes secrets out of finished lines.
        log_format: JSON lines or coloured console.
        level: lines below it are not written, as in ``logging``.
        stream: where lines go.
    """
    target = sys.stderr if stream is None else stream
    if log_format is LogFormat.AUTO:
        log_format = LogFormat.CONSOLE if target.isatty() else LogFormat.JSON

    def add_session(_logger: Any, _method: str, event: EventDict) -> EventDict:
        event.setdefault("component", LIBRARY_COMPONENT)
        event.setdefault("session_id", session_id)
        return event

    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        add_session,
    ]
    renderers = _renderers(log_format, colours=target.isatty())
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        _RedactingFormatter(
            redactor,
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    lines = _Lines(handler, redactor)
    structlog.configure(
        processors=[*shared, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=False,
    )


def component_logger(component: str) -> structlog.typing.FilteringBoundLogger:
    """Return a logger whose lines carry ``component``, such as ``[ORDER]``.

    Use it as ``log.info("order_sent", seq=12, client_order_id="c-1")``: a fixed event name, and
    fields with units in their names.
    """
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger("backstop")
    return logger.bind(component=component)


class _Lines:
    """Takes our own finished lines straight to the stream that the handler has.

    A busy market writes a thousand lines a second: the way through records of the standard library
    would cost each of them three times as much.
    """

    def __init__(self, handler: "logging.StreamHandler[TextIO]", redactor: Redactor) -> None:
        self._handler = handler
        self._redactor = redactor

    def msg(self, line: str) -> None:
        """Write one line."""
        handler = self._handler
        handler.acquire()
        try:
            handler.stream.write(self._redactor.redact(line) + handler.terminator)
            handler.flush()
        finally:
            handler.release()

    debug = info = warning = error = critical = exception = msg


class _RedactingFormatter(structlog.stdlib.ProcessorFormatter):
    """Strikes secrets out of the finished line, tracebacks included."""

    def __init__(self, redactor: Redactor, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        return self._redactor.redact(super().format(record))


def _renderers(log_format: LogFormat, *, colours: bool) -> list[Processor]:
    if log_format is LogFormat.CONSOLE:
        return [
            structlog.dev.ConsoleRenderer(
                colors=colours, exception_formatter=structlog.dev.plain_traceback
            )
        ]
    return [
        structlog.processors.format_exc_info,
        _first_fields_first,
        _as_json,
    ]


_JSON_LINE = json.JSONEncoder(ensure_ascii=False, default=repr)
"""Made once: with an option, ``json.dumps`` makes one for each line."""


def _as_json(_logger: Any, _method: str, event: EventDict) -> str:
    """Write a line as JSON; a value that JSON does not know as Python shows it."""
    return _JSON_LINE.encode(event)


def _first_fields_first(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Put what every line has at its beginning, where people look for it."""
    first = ("time", "level", "component", "event", "session_id", "seq")
    return {
        **{name: event[name] for name in first if name in event},
        **{name: value for name, value in event.items() if name not in first},
    }


def _spellings(value: str) -> Iterator[str]:
    """As it is, inside JSON, and inside a URL."""
    yield value
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield quote(value, safe="")
    yield quote_plus(value)
