"""The leaf of a record covers everything that is stored of it, and nothing can be moved about."""

from typing import Any

import pytest

from backstop.core import merkle
from backstop.core.journal_leaf import leaf_bytes, leaf_hash

RECORD: dict[str, Any] = {
    "seq": 7,
    "kind": "event",
    "account": "42",
    "epoch": 3,
    "monotonic_ns": 8,
    "utc_us": 1_762_000_000_000_000,
    "payload": b'{"a":1}',
}


def test_the_bytes_are_the_documented_ones() -> None:
    """Pinned: a stored log must verify with every later version."""
    assert leaf_bytes(**RECORD) == (
        b"backstop journal record v1\0"
        + (7).to_bytes(8, "big")
        + (3).to_bytes(8, "big")
        + (8).to_bytes(8, "big")
        + (1_762_000_000_000_000).to_bytes(8, "big")
        + b"\0\0\0\5event"
        + b"\0\0\0\x0242"
        + b'\0\0\0\7{"a":1}'
    )


def test_the_leaf_hash_is_that_of_rfc_6962() -> None:
    assert leaf_hash(**RECORD) == merkle.leaf_hash(leaf_bytes(**RECORD))


@pytest.mark.parametrize(
    "change",
    [
        {"seq": 8},
        {"kind": "command"},
        {"account": "43"},
        {"epoch": 4},
        {"monotonic_ns": 9},
        {"utc_us": 1},
        {"payload": b'{"a":2}'},
    ],
)
def test_every_change_of_a_record_changes_its_hash(change: dict[str, Any]) -> None:
    assert leaf_hash(**(RECORD | change)) != leaf_hash(**RECORD)


def test_text_cannot_wander_from_one_member_into_the_next() -> None:
    moved = RECORD | {"kind": "event4", "account": "2"}

    assert leaf_bytes(**moved) != leaf_bytes(**RECORD)
