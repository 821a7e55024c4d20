"""Facts, commands and proofs as journal payloads: JSON that a person can read."""

import msgspec

from backstop.domain.commands import Request
from backstop.domain.events import Fact
from backstop.errors import StateFolderError
from backstop.ports import JournalRecord

EVENT_KIND = "event"
COMMAND_KIND = "command"
PROOF_KIND = "proof"

_encoder = msgspec.json.Encoder()
_facts: msgspec.json.Decoder[Fact] = msgspec.json.Decoder(Fact)


def encode(value: Fact | Request) -> bytes:
    """Return the payload of a fact or a command."""
    return _encoder.encode(value)


def decode_fact(record: JournalRecord) -> Fact:
    """Return the fact that ``record`` holds.

    Raises:
        StateFolderError: it was written by a version that knows more than this one.
    """
    try:
        return _facts.decode(record.payload)
    except msgspec.MsgspecError as error:
        raise StateFolderError(
            f"Journal record {record.seq} cannot be read: {error}. It was written by another "
            "version of Backstop; run that one, or a newer one. Nothing was changed."
        ) from error
