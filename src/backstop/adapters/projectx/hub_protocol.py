"""The SignalR JSON hub protocol, version 1: records in and out. No sockets here.

A record is one JSON object that ends with 0x1E. Records and WebSocket messages do not line up: one
message may hold many records or a part of one, and the first events share a message with the
handshake's answer.
"""

from enum import IntEnum

import msgspec
from msgspec import Raw, Struct

from backstop.errors import GatewayAnswerError

RECORD_END = b"\x1e"
RECORD_BYTES_MAX = 16 * 1024 * 1024
"""A recorded depth event had 280 KB; what is longer than this is not a record."""

HANDSHAKE = b'{"protocol":"json","version":1}' + RECORD_END
PING = b'{"type":6}' + RECORD_END


class RecordType(IntEnum):
    """``type`` of a record; stream and acknowledgement types are not used by the gateway."""

    INVOCATION = 1
    COMPLETION = 3
    PING = 6
    CLOSE = 7


class Record(Struct, rename="camel"):
    """One record of the server; ``arguments`` stay undecoded until their target is known."""

    type: int
    target: str | None = None
    arguments: Raw = Raw(b"[]")
    invocation_id: str | None = None
    error: str | None = None
    allow_reconnect: bool = False


class HandshakeAnswer(Struct):
    """The first record of the server: an empty object, or an error."""

    error: str | None = None


class Transport(Struct, kw_only=True, rename="camel"):
    """One way to connect that the server offers."""

    transport: str


class Negotiation(Struct, kw_only=True, rename="camel"):
    """Answer of ``negotiate``: a connection, a redirect (``url``) or an error, all as HTTP 200."""

    negotiate_version: int = 0
    connection_id: str | None = None
    connection_token: str | None = None
    available_transports: list[Transport] = []
    url: str | None = None
    access_token: str | None = None
    error: str | None = None

    @property
    def socket_id(self) -> str | None:
        """The ``id`` of the WebSocket address: the secret token, in version 0 the public id."""
        return self.connection_token if self.negotiate_version >= 1 else self.connection_id

    @property
    def offers_web_sockets(self) -> bool:
        """WebSockets are among the offered transports."""
        return any(offer.transport == "WebSockets" for offer in self.available_transports)


class RecordBuffer:
    """Cuts a stream of WebSocket messages into records."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the records that ``data`` completes, in order, without their ends.

        Raises:
            GatewayAnswerError: the unfinished record is longer than any can be.
        """
        if not self._rest and data.endswith(RECORD_END):
            return data[:-1].split(RECORD_END)  # the usual case: whole records
        self._rest += data
        if len(self._rest) > RECORD_BYTES_MAX + len(data):
            raise GatewayAnswerError(f"a record of more than {RECORD_BYTES_MAX} bytes")
        if RECORD_END not in data:  # looked for in the new part only: a long record stays cheap
            return []
        *records, rest = bytes(self._rest).split(RECORD_END)
        self._rest = bytearray(rest)
        return records


decode_record = msgspec.json.Decoder(Record).decode
"""One record of the server, or one of ``wire.UNREADABLE``."""

decode_arguments = msgspec.json.Decoder(list[Raw]).decode
"""The arguments of an invocation, each still undecoded, or one of ``wire.UNREADABLE``."""

decode_handshake = msgspec.json.Decoder(HandshakeAnswer).decode
decode_negotiation = msgspec.json.Decoder(Negotiation).decode


def invocation(invocation_id: str, target: str, arguments: tuple[object, ...]) -> bytes:
    """Return the record that calls ``target`` and asks for a completion."""
    call = {
        "type": int(RecordType.INVOCATION),
        "invocationId": invocation_id,
        "target": target,
        "arguments": arguments,
    }
    return msgspec.json.encode(call) + RECORD_END
