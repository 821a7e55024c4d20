"""What a record of the journal can be."""

from enum import StrEnum


class RecordKind(StrEnum):
    """The ``kind`` of a record; one of a later version is kept, and nothing follows from it."""

    EVENT = "event"  # a fact
    COMMAND = "command"  # what follows from the fact before it
    PROOF = "proof"  # a signed proof of an execution
    POLICY = "policy"  # the rules that hold from here on
    KEY_ROTATION = "key-rotation"  # the key that signs from here on, signed by both
    STATE = "state"  # a state that knew more than its record, whole
