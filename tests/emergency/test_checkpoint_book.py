"""Which checkpoints are believed, by a guard and by a liquidation without one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from tests.core.builders import ACCOUNT, Guard
from tests.core.test_state_checkpoint import in_order

from backstop import __version__
from backstop.adapters.state_format import Checkpoint, TreeState
from backstop.core.state_checkpoint import captured, encoded
from backstop.emergency.checkpoint_book import book_of, check_record
from backstop.errors import StateFileError

PATH = Path("trading_state.json")
RECORD = "ab" * 32


def a_checkpoint(guard: Guard, **changes: Any) -> Checkpoint:
    kept = Checkpoint(
        journal_seq=7,
        account_id=ACCOUNT,
        record=RECORD,
        software=__version__,
        machine="here",
        boot_id="b",
        process_id=1,
        utc_us=1,
        monotonic_ns=1,
        archive_seq=0,
        tree=TreeState(size=0, peaks=()),
        book=msgspec.Raw(encoded(captured(guard.book))),
    )
    return replace(kept, **changes)


def a_guard() -> Guard:
    guard = Guard().start()
    guard.working()
    return guard


def test_what_holds_comes_back_as_it_was() -> None:
    guard = a_guard()
    kept = a_checkpoint(guard)
    check_record(PATH, kept, record=RECORD, size=7)

    assert in_order(book_of(PATH, kept)) == in_order(guard.book)


@pytest.mark.parametrize(
    ("record", "size", "words"), [("cd" * 32, 7, "another record"), (RECORD, 6, "ends at 6")]
)
def test_a_checkpoint_of_another_record_or_beyond_it_is_refused(
    record: str, size: int, words: str
) -> None:
    with pytest.raises(StateFileError, match=words):
        check_record(PATH, a_checkpoint(a_guard()), record=record, size=size)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (lambda kept: replace(kept, software="99.0"), "99.0 wrote it"),
        (lambda kept: replace(kept, book=msgspec.Raw(b'{"positions":3}')), "another form"),
        (lambda kept: replace(kept, book=msgspec.Raw(b"{}")), "another form"),
        (
            lambda kept: replace(kept, book=msgspec.Raw(bytes(kept.book)[:-1] + b',"later":1}')),
            "other members",
        ),
    ],
)
def test_another_version_and_another_form_are_refused(
    changed: Callable[[Checkpoint], Checkpoint], words: str
) -> None:
    with pytest.raises(StateFileError, match=words):
        book_of(PATH, changed(a_checkpoint(a_guard())))
