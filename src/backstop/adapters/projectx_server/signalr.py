"""The SignalR JSON hub protocol, server side, without I/O: records, handshake, invocations, texts.

One record is one JSON object and the byte 0x1E. Texts and limits are those that a real ASP.NET
Core server was seen to use.
"""

from collections.abc import Iterator
from enum import IntEnum
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from backstop.adapters.projectx.wire import UNREADABLE

SEPARATOR: Final = b"\x1e"
RECORD_BYTES_MAX: Final = 32 * 1024  # what the real server takes from a client in one record
FRAME_BYTES_MAX: Final = 64 * 1024  # records joined into one frame; clients refuse megabytes
PROTOCOL_VERSION_MAX: Final = 2
_SHORT_FRAME: Final = 126  # bytes from which on a WebSocket frame states its size apart

PING: Final = b'{"type":6}\x1e'
HANDSHAKE_DONE: Final = b"{}\x1e"
CLOSED_BY_ERROR: Final = (
    b'{"type":7,"error":"Connection closed with an error.","allowReconnect":true}\x1e'
)


class MessageType(IntEnum):
    """``type`` of a record."""

    INVOCATION = 1
    STREAM_ITEM = 2
    COMPLETION = 3
    STREAM_INVOCATION = 4
    CANCEL_INVOCATION = 5
    PING = 6
    CLOSE = 7
    ACK = 8
    SEQUENCE = 9


class ProtocolError(Exception):
    """Input that makes the real server close the connection with an error."""


class HandshakeError(Exception):
    """A handshake that is refused; ``str`` is the text for the client."""


class Record(Struct, kw_only=True, rename="camel"):
    """One record of a client; members that the type does not need are ignored."""

    type: int
    target: str | None = None
    arguments: list[Any] | UnsetType = UNSET
    invocation_id: str | None = None


class _Handshake(Struct, kw_only=True):
    protocol: str
    version: int


_RECORD_DECODER = msgspec.json.Decoder(Record)
_HANDSHAKE_DECODER = msgspec.json.Decoder(_Handshake)


class RecordBuffer:
    """Cuts what arrives into records; frames may hold many of them, or a part of one."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield every complete record, without its separator.

        Raises:
            ProtocolError: a record is over ``RECORD_BYTES_MAX``.
        """
        self._rest += data
        start = 0
        try:
            while (end := self._rest.find(SEPARATOR, start)) >= 0:
                if end - start > RECORD_BYTES_MAX:
                    raise ProtocolError("a record is too large")
                record = bytes(self._rest[start:end])
                start = end + 1
                yield record
        finally:
            del self._rest[:start]
        if len(self._rest) > RECORD_BYTES_MAX:
            raise ProtocolError("a record is too large")


def check_handshake(record: bytes, *, refuse_version_0: bool) -> None:
    """Take the first record of a client.

    Raises:
        HandshakeError: another protocol, a version above 2, or not a handshake.
    """
    try:
        handshake = _HANDSHAKE_DECODER.decode(record)
    except UNREADABLE:
        raise HandshakeError("An unexpected error occurred during connection handshake.") from None
    if handshake.protocol != "json":
        raise HandshakeError(f"The protocol '{handshake.protocol}' is not supported.")
    too_old = refuse_version_0 and handshake.version <= 0
    if too_old or handshake.version > PROTOCOL_VERSION_MAX:
        raise HandshakeError(
            f"The server does not support version {handshake.version} of the 'json' protocol."
        )


def parse_record(record: bytes) -> Record:
    """Return ``record`` decoded.

    Raises:
        ProtocolError: not JSON, no type, or an invocation without target or arguments.
    """
    try:
        parsed = _RECORD_DECODER.decode(record)
    except UNREADABLE as error:
        raise ProtocolError(str(error)) from None
    if parsed.type in {MessageType.INVOCATION, MessageType.STREAM_INVOCATION} and (
        parsed.target is None or parsed.arguments is UNSET
    ):
        raise ProtocolError("an invocation without target or arguments")
    return parsed


def handshake_refused(text: str) -> bytes:
    """Return the record that refuses a handshake."""
    return _record({"error": text})


def invocation(target: str, *arguments: bytes) -> bytes:
    """Return the record of one event; ``arguments`` are JSON texts, encoded once by the caller."""
    # Put together by hand: this is the path of every event, and its parts are JSON already.
    return b'{"type":1,"target":"%b","arguments":[%b]}\x1e' % (
        target.encode(),
        b",".join(arguments),
    )


def text_frame(payload: bytes) -> bytes:
    """Return ``payload`` as one whole WebSocket text frame of a server (RFC 6455, section 5.2)."""
    size = len(payload)
    if size < _SHORT_FRAME:
        return b"\x81%c%b" % (size, payload)
    if size < 1 << 16:
        return b"\x81\x7e%b%b" % (size.to_bytes(2), payload)
    return b"\x81\x7f%b%b" % (size.to_bytes(8), payload)


def completed(invocation_id: str) -> bytes:
    """Return the answer to a call that went well; every method here is void."""
    return _record({"type": MessageType.COMPLETION, "invocationId": invocation_id, "result": None})


def failed(invocation_id: str, text: str) -> bytes:
    """Return the answer to a call that failed."""
    return _record({"type": MessageType.COMPLETION, "invocationId": invocation_id, "error": text})


def close_record(*, error: str | None, allow_reconnect: bool) -> bytes:
    """Return the record that announces the end of the connection."""
    members: dict[str, object] = {"type": MessageType.CLOSE}
    if error is not None:
        members["error"] = error
    if allow_reconnect:
        members["allowReconnect"] = True
    return _record(members)


def unknown_method(target: str) -> str:
    """Return the error text for a method that the hub does not have."""
    return f"{wrong_arguments(target)} HubException: Method does not exist."


def wrong_arguments(target: str) -> str:
    """Return the error text for a wrong number or type of arguments."""
    return f"Failed to invoke '{target}' due to an error on the server."


def hub_exception(target: str, text: str) -> str:
    """Return the error text for a call that the hub itself refuses, and why."""
    return f"An unexpected error occurred invoking '{target}' on the server. HubException: {text}"


def not_a_stream(target: str) -> str:
    """Return the error text for a stream call of a method that returns no stream."""
    return (
        f"The client attempted to invoke the non-streaming '{target}' method "
        "with a streaming invocation."
    )


def _record(members: dict[str, object]) -> bytes:
    return msgspec.json.encode(members) + SEPARATOR
