"""A planted bug counts as found where a seed fails with it and passes without it."""

import pytest
import storm_bugs
import storm_hours
import storm_table

from backstop.storm.coverage import coverage
from backstop.storm.mutations import MUTATIONS, planted
from backstop.storm.unreached import RARE, UNREACHED

HOURS = 0.02
NAMED = {it.name: it for it in MUTATIONS}
SHOWS_AT_ONCE = NAMED["let commands leave before they are on disk"]
"""Whatever sends an order breaks a rule with it."""

SHOWS_LATER = NAMED["let entries pass while halted"]
"""Of the same weather, and not in the first minute of its first seed."""


def test_a_seed_that_passes_without_the_bug_finds_it() -> None:
    clean: dict[int, bool] = {}
    found = storm_bugs.hunted(SHOWS_AT_ONCE, hours=HOURS, at_most=1, clean=clean)

    assert found.rule == "durable before sent"
    assert found.passes_without
    assert clean == {found.tried[0]: True}


def test_a_seed_that_fails_anyway_finds_nothing() -> None:
    clean: dict[int, bool] = {}
    with planted(SHOWS_AT_ONCE):
        found = storm_bugs.hunted(SHOWS_LATER, hours=HOURS, at_most=1, clean=clean)

    assert (found.rule, found.passes_without) == ("", False)
    assert found.unfit == found.tried
    assert clean == {found.tried[0]: False}


@pytest.mark.parametrize(
    ("passes_without", "code", "counted", "said"),
    [
        (True, "now", "1 of", "| yes |"),
        (True, "then", "1 of", "| yes, older code |"),
        (False, "", "0 of", "| not tried, older code |"),
    ],
)
def test_the_page_counts_what_was_proven_and_says_what_is_older(
    passes_without: bool,  # noqa: FBT001 - a column of the table
    code: str,
    counted: str,
    said: str,
) -> None:
    caught = storm_bugs.Caught(
        name=SHOWS_AT_ONCE.name,
        hours=HOURS,
        tried=(20,),
        rule="once",
        passes_without=passes_without,
        code=storm_bugs.with_bug(code, SHOWS_AT_ONCE),
    )
    _, told, rows = storm_bugs.planted_bugs([caught], "now")

    assert told.startswith(counted)
    assert any(SHOWS_AT_ONCE.name in row and row.endswith(said) for row in rows.splitlines())


def test_whatever_no_seed_has_reached_has_a_reason_on_the_page() -> None:
    hours = storm_hours.all_hours()
    for it in coverage([storm_table.gathered().reached, *(it.reached for it in hours)]):
        reasons = UNREACHED.get(it.kind, {}).keys() | RARE.get(it.kind, {}).keys()
        assert set(it.unreached) <= reasons, it.kind


def test_the_published_page_says_what_its_documents_say() -> None:
    written = storm_table.PAGE.read_text(encoding="utf-8")

    assert written == storm_table.page(), "tools/storm_table.py --write renews it"
