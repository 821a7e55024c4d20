"""Facts, commands, policies and proofs as journal payloads: JSON that a person can read."""

from typing import TypeVar

import msgspec

from backstop.core.policy import Policy
from backstop.domain.commands import Request
from backstop.domain.events import Fact
from backstop.errors import StateFolderError
from backstop.ports import JournalRecord

EVENT_KIND = "event"
COMMAND_KIND = "command"
PROOF_KIND = "proof"
POLICY_KIND = "policy"
ROTATION_KIND = "key-rotation"

_T = TypeVar("_T")

_encoder = msgspec.json.Encoder()
_facts: msgspec.json.Decoder[Fact] = msgspec.json.Decoder(Fact)
_policies: msgspec.json.Decoder[Policy] = msgspec.json.Decoder(Policy)


def encode(value: Fact | Request | Policy) -> bytes:
    """Return the payload of a fact, a command or a policy."""
    return _encoder.encode(value)


def decode_fact(record: JournalRecord) -> Fact:
    """Return the fact that ``record`` holds.

    Raises:
        StateFolderError: it was written by a version that knows more than this one.
    """
    return _decoded(_facts, record)


def decode_policy(record: JournalRecord) -> Policy:
    """Return the policy that ``record`` holds; errors as ``decode_fact``."""
    return _decoded(_policies, record)


def _decoded(decoder: msgspec.json.Decoder[_T], record: JournalRecord) -> _T:
    try:
        return decoder.decode(record.payload)
    except msgspec.MsgspecError as error:
        raise StateFolderError(
            f"Journal record {record.seq} cannot be read: {error}. It was written by another "
            "version of Backstop; run that one, or a newer one. Nothing was changed."
        ) from error
