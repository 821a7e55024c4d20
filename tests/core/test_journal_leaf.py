"""The leaf of a record covers everything that is stored of it, and nothing can be moved about."""

import pytest
from msgspec.structs import replace

from backstop.core import merkle
from backstop.core.journal_leaf import leaf_bytes, leaf_hash
from backstop.ports import JournalRecord

RECORD = JournalRecord(
    seq=7, kind="event", monotonic_ns=8, utc_us=1_762_000_000_000_000, payload=b'{"a":1}'
)


def test_the_bytes_are_the_documented_ones() -> None:
    """Pinned: a stored log must verify with every later version."""
    assert leaf_bytes(RECORD, account="42", epoch=3) == (
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
    assert leaf_hash(RECORD, "42", 3) == merkle.leaf_hash(leaf_bytes(RECORD, account="42", epoch=3))


@pytest.mark.parametrize(
    "changed",
    [
        replace(RECORD, seq=8),
        replace(RECORD, kind="command"),
        replace(RECORD, monotonic_ns=9),
        replace(RECORD, utc_us=1),
        replace(RECORD, payload=b'{"a":2}'),
    ],
)
def test_every_change_of_a_record_changes_its_hash(changed: JournalRecord) -> None:
    assert leaf_hash(changed, "42", 3) != leaf_hash(RECORD, "42", 3)


def test_account_and_epoch_are_covered() -> None:
    assert leaf_hash(RECORD, "43", 3) != leaf_hash(RECORD, "42", 3)
    assert leaf_hash(RECORD, "42", 4) != leaf_hash(RECORD, "42", 3)


def test_text_cannot_wander_from_one_member_into_the_next() -> None:
    assert leaf_bytes(replace(RECORD, kind="event4"), account="2", epoch=3) != leaf_bytes(
        RECORD, account="42", epoch=3
    )
