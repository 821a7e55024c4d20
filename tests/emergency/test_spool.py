"""The file that a liquidation without a guard writes: what survives a death, a cut, a full disk."""

import os
from pathlib import Path

import pytest

from backstop.core.policy import Policy
from backstop.domain.events import LiquidationRequested, TimerFired
from backstop.emergency import spool as spool_module
from backstop.emergency.spool import Spool, read_spool, set_aside, spool_places

FIRE = LiquidationRequested(utc_us=5, reason="fire", operator="ann")


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, ...]:
    (tmp_path / "runtime").mkdir()
    return spool_places(tmp_path / "state", tmp_path / "runtime" / "account.lock")


def written(places: tuple[Path, ...]) -> Spool:
    spool = Spool(places)
    spool.put(Policy(account_id=7), monotonic_ns=1, utc_us=4)
    spool.put(FIRE, monotonic_ns=2, utc_us=5)
    spool.close()
    return spool


def test_what_was_written_is_read_in_its_order_with_its_times(places: tuple[Path, ...]) -> None:
    spool = written(places)
    found = read_spool(places)

    assert spool.fault == ""
    assert [(it.seq, it.kind, it.monotonic_ns, it.utc_us) for it in found.records] == [
        (1, "policy", 1, 4),
        (2, "event", 2, 5),
    ]
    assert b"fire" in found.records[1].payload
    assert (found.unreadable, len(found.digest)) == (0, 64)


def test_a_second_liquidation_goes_on_in_the_same_file(places: tuple[Path, ...]) -> None:
    written(places)
    first = read_spool(places)
    written(places)
    second = read_spool(places)

    assert len(second.records) == 2 * len(first.records)
    assert second.digest != first.digest


def test_a_row_that_was_cut_is_no_row_and_the_next_one_stands_on_its_own(
    places: tuple[Path, ...],
) -> None:
    written(places)
    whole = places[0].read_bytes()
    places[0].write_bytes(whole[:-5])
    cut = read_spool(places)
    written(places)
    after = read_spool(places)

    assert (len(cut.records), cut.unreadable) == (1, 0)
    assert (len(after.records), after.unreadable) == (3, 0)


def test_a_second_liquidation_needs_no_call_that_windows_lacks(
    places: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pread", "pwrite"):
        monkeypatch.delattr(os, name, raising=False)
    written(places)
    places[0].write_bytes(places[0].read_bytes()[:-5])
    spool = written(places)

    assert spool.fault == ""
    assert len(read_spool(places).records) == 3


def test_a_damaged_row_is_counted_and_the_others_are_read(places: tuple[Path, ...]) -> None:
    written(places)
    first, second, _ = places[0].read_bytes().split(b"\n")
    places[0].write_bytes(b"\n".join((first, b"\0" * len(second), second, b"")))
    found = read_spool(places)

    assert (len(found.records), found.unreadable) == (2, 1)


def test_where_one_place_takes_nothing_the_next_one_does(places: tuple[Path, ...]) -> None:
    places[0].mkdir(parents=True)
    spool = written(places)

    assert str(places[0]) in spool.fault
    assert spool.path == places[1]
    assert len(read_spool(places[1:]).records) == 2


def test_without_any_place_it_says_so_and_raises_nothing(places: tuple[Path, ...]) -> None:
    for path in places:
        path.mkdir(parents=True)
    spool = written(places)
    spool.put(TimerFired(utc_us=6), monotonic_ns=3, utc_us=6)

    assert str(places[1]) in spool.fault


def test_a_file_of_somebody_else_is_not_read_into_memory(
    places: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    written(places)
    monkeypatch.setattr(spool_module, "SPOOL_BYTES_MAX", 10)
    found = read_spool(places)

    assert (found.records, found.unreadable) == ((), 1)


def test_a_file_that_is_in_the_record_is_kept_under_another_name(
    places: tuple[Path, ...],
) -> None:
    written(places)
    found = read_spool(places)
    set_aside(found)

    assert read_spool(places) == spool_module.Spooled()
    (kept,) = places[0].parent.iterdir()
    assert found.digest[:16] in kept.name
