"""Facts, commands, policies and proofs as journal payloads: JSON that a person can read."""

from decimal import Decimal
from typing import TypeVar

import msgspec

from backstop.core.policy import Policy
from backstop.domain.commands import Request
from backstop.domain.events import Event, Fact
from backstop.domain.order import OrderRequest
from backstop.errors import DomainError, StateFolderError
from backstop.ports import JournalRecord

EVENT_KIND = "event"
COMMAND_KIND = "command"
PROOF_KIND = "proof"
POLICY_KIND = "policy"
ROTATION_KIND = "key-rotation"

_T = TypeVar("_T")
_Wish = TypeVar("_Wish", bound=Event | OrderRequest)

_encoder = msgspec.json.Encoder()
_facts: msgspec.json.Decoder[Fact] = msgspec.json.Decoder(Fact)
_policies: msgspec.json.Decoder[Policy] = msgspec.json.Decoder(Policy)


def encode(value: Fact | Request | Policy) -> bytes:
    """Return the payload of a fact, a command or a policy."""
    return _encoder.encode(value)


def recordable(wish: _Wish) -> _Wish:
    """Return a wish of somebody else's code as the record will read it back.

    Python checks no types: a price that is a float or a side that is plain text becomes what it
    says; a quantity of 1.5 is refused here, for once in the record nothing could start from it.

    Raises:
        DomainError: a member is not what its type says; the message names it, or its type.
    """
    try:
        read = msgspec.convert(msgspec.to_builtins(wish, builtin_types=(Decimal,)), type(wish))
        _encoder.encode(read)
    except (TypeError, ValueError) as error:  # msgspec's own, and text that UTF-8 cannot carry
        raise DomainError(f"{type(wish).__name__} cannot be understood: {error}.") from error
    return read


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
