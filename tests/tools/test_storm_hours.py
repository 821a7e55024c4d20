"""Long runs are on record seed by seed; the page says with which code, and what failed."""

from pathlib import Path

import msgspec
import pytest
import storm_hours
from storm_code import code_digest
from storm_hours import COMES_RIGHT, Hour

from backstop.storm.coverage import DENIALS
from backstop.storm.regressions import MISJUDGED, REGRESSIONS
from backstop.storm.seed_run import run_seed
from backstop.storm.unreached import RARE

AN_HOUR = Hour(
    seed=1,
    weather="calm",
    digest="0123456789abcdef",
    trades=50,
    starts=1,
    cpu_s=36.0,
    naked_s_max=0.5,
    failed=(),
    code="older",
)
MENDED = REGRESSIONS[0].seed
MISTAKEN = MISJUDGED[0].seed


def hour(seed: int, *, code: str = "older", failed: tuple[str, ...] = ()) -> Hour:
    return msgspec.structs.replace(AN_HOUR, seed=seed, code=code, failed=failed)


def test_a_seed_is_on_record_as_soon_as_it_is_over_with_its_code(tmp_path: Path) -> None:
    record = tmp_path / "hours.jsonl"
    storm_hours.play(range(20, 21), processes=1, record=record, hours=0.005)

    (played,) = storm_hours.all_hours(record)
    assert (played.seed, played.weather, played.failed) == (20, "calm", ())
    assert played.code == code_digest()
    assert played.cpu_s > 0


def test_a_line_names_what_only_a_long_run_reaches() -> None:
    rare = next(iter(RARE[DENIALS]))
    result = run_seed(20, hours=0.002)
    reached = {**result.reached, DENIALS: ("NOT_A_NUMBER", rare)}

    line = storm_hours.hour_of(msgspec.structs.replace(result, reached=reached), "newer")

    assert line.reached == {DENIALS: (rare,)}


def test_a_seed_that_is_played_again_takes_the_place_of_what_passed_and_not_of_what_failed(
    tmp_path: Path,
) -> None:
    record = tmp_path / "hours.jsonl"
    failed, again = hour(1, code="newer", failed=(COMES_RIGHT,)), hour(1, code="newest")
    for it in (hour(1), hour(2), failed, again):
        storm_hours.append(it, record)

    storm_hours.tidy(record)

    assert storm_hours.all_hours(record) == [hour(2), failed, again]
    assert [*tmp_path.iterdir()] == [record]
    assert storm_hours.newest_of_each([hour(1), hour(2), failed, again]) == [hour(2), again]


def test_the_newest_code_comes_first_and_the_present_one_is_named() -> None:
    hours = [hour(1), hour(2), hour(3, code="newer", failed=("once",))]
    _, _, table, *_ = storm_hours.hours_told(hours, "newer")

    assert table.splitlines()[2:] == [
        "| `newer`, the code of this page | 1 | 1 | 1 | 100 | 0.5 s |",
        "| `older` | 2 | 2 | 0 | 100 | 0.5 s |",
        "| all together | 3 | 3 | 1 | 100 | 0.5 s |",
    ]


@pytest.mark.parametrize(
    ("seed", "code", "said"),
    [
        (MENDED, "older", "Failed with older code, and mended since (below)"),
        (MISTAKEN, "older", "Failed with older code, where the judge was wrong (below)"),
        (MENDED, "newer", "Failed and not mended"),
        (999_999, "older", "Failed and not mended"),
    ],
)
def test_a_seed_that_failed_is_named_with_what_became_of_it(
    seed: int, code: str, said: str
) -> None:
    failed = hour(seed, code=code, failed=("once", COMES_RIGHT))
    *_, last = storm_hours.hours_told([failed, hour(999_998)], "newer")

    assert last == f"{said}: {seed} (once, comes right; `{code}`)."


def test_a_failure_is_told_when_the_seed_passes_now() -> None:
    hours = [hour(MENDED, failed=("once",)), hour(MENDED, code="newer")]
    _, _, table, last = storm_hours.hours_told(hours, "newer")

    assert table.splitlines()[3:] == [
        "| `older` | 1 | 1 | 1 | 100 | 0.5 s |",
        "| all together | 1 | 1 | 0 | 100 | 0.5 s |",
    ]
    assert last == (
        f"Failed with older code, and passed when played again (below): {MENDED} (once; `older`)."
    )


def test_where_nothing_failed_nothing_is_said_about_it() -> None:
    assert len(storm_hours.hours_told([hour(1)], "newer")) == 3


def test_the_record_of_the_repository_has_whole_lines_and_each_seed_once_beside_failures() -> None:
    hours = storm_hours.all_hours()
    newest = storm_hours.newest_of_each(hours)

    assert all(it in newest or it.failed for it in hours)
