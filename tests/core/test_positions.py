"""Three witnesses of one position: trades, rows and reads."""

from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.core.builders import MES, START_NS, START_US

from backstop.core.policy import SECOND_NS
from backstop.core.positions import (
    FLAT_READS,
    LATE_ROW_NS,
    LATER_NS,
    SETTLE_NS,
    SNAPSHOT_LAG_NS,
    Knowledge,
    PositionView,
    after_read,
    after_row,
    after_trade,
    distrusted,
    in_motion,
)
from backstop.core.venue_clock import Span

PRICE = Decimal(5000)
AT_START = Span(earliest_us=START_US, latest_us=START_US)


def a_view(quantity: int = 0, **changes: Any) -> PositionView:
    """Return a view whose trades explain its quantity."""
    members: dict[str, Any] = {
        "contract_id": MES,
        "quantity": quantity,
        "traded": quantity,
        "knowledge": Knowledge.KNOWN,
    }
    return PositionView(**(members | changes))


def trade(view: PositionView, quantity: int, *, utc_us: int = START_US, **at: int) -> PositionView:
    return after_trade(view, quantity, traded_utc_us=utc_us, now_ns=at.get("now_ns", START_NS))


def read(
    view: PositionView, quantity: int, *, sent_ns: int, utc_us: int = START_US
) -> PositionView:
    taken = Span(earliest_us=utc_us, latest_us=utc_us)
    return after_read(view, quantity, PRICE, sent_ns=sent_ns, taken=taken)[0]


# -- trades and rows -----------------------------------------------------------------------------


def test_trades_add_up() -> None:
    view = trade(trade(a_view(), 2), -3)

    assert (view.quantity, view.ledger) == (-1, -1)
    assert view.is_agreed


def test_a_row_before_its_trade_is_not_counted_twice() -> None:
    view = after_row(a_view(2), 3, PRICE, now_ns=START_NS)
    assert not view.is_agreed

    view = trade(view, 1)

    assert view.quantity == 3
    assert view.is_agreed


def test_rows_and_trades_both_may_be_held_until_they_agree() -> None:
    """A row may be older than the trades, and a trade that explains a row may be lost."""
    view = after_row(trade(a_view(), 3), 1, PRICE, now_ns=START_NS)
    settled = after_row(view, 3, PRICE, now_ns=START_NS)

    assert view.possible == (1, 3)
    assert settled.possible == (3,)


def test_a_trade_after_a_lost_one_moves_what_the_row_said() -> None:
    """The row told of an exit whose trade was lost; the next entry is a new contract."""
    view = after_row(a_view(2), 0, PRICE, now_ns=START_NS)

    view = trade(view, 1)
    assert (view.quantity, view.ledger) == (1, 3)

    view = trade(view, -2)
    assert (view.quantity, view.ledger) == (1, 1)


def test_an_old_trade_is_not_counted_on_top_of_a_row_that_came_after_a_newer_one() -> None:
    """A read brings it to light: the venue counted it long before it pushed the row."""
    view = trade(a_view(-5), -1, utc_us=START_US + 8)  # a sale of two at 3 was not told
    view = after_row(trade(view, -4, utc_us=START_US + 12), -7, PRICE, now_ns=START_NS)
    assert (view.quantity, view.ledger) == (-7, -10), "the row is late, or trades are lost"

    found = trade(view, -2, utc_us=START_US + 3)
    newer = trade(view, -2, utc_us=START_US + 13)

    assert (found.quantity, found.ledger) == (-7, -12), "nobody ever said nine"
    assert (newer.quantity, newer.ledger) == (-9, -12), "what is newer is not in the row"


def test_an_old_trade_is_not_counted_on_top_of_a_row_that_came_long_after_it() -> None:
    """Nothing newer is known; but no row is pushed so late that it lacks the trade."""
    view = after_row(a_view(-2), 0, PRICE, now_ns=START_NS, has_until_utc_us=START_US)
    assert (view.quantity, view.ledger) == (0, -2), "an entry of 3 and a close of 5 were not told"

    found = trade(view, -3, utc_us=START_US - 1)
    closed = trade(found, 5, utc_us=START_US + 1)

    assert (found.quantity, found.ledger) == (0, -5), "nobody ever said three"
    assert (closed.quantity, closed.ledger) == (0, 0)
    assert trade(view, -3, utc_us=START_US).quantity == -3, "it may not be in the row"


def test_an_old_trade_that_is_taken_back_now_is_taken_out_of_the_row() -> None:
    view = trade(a_view(3), 2, utc_us=START_US + 5)
    view = after_row(view, 6, PRICE, now_ns=START_NS)

    back = after_trade(view, -2, traded_utc_us=START_US + 1, now_ns=START_NS, corrects=True)

    assert (back.quantity, back.ledger) == (4, 3)


def test_a_row_from_before_an_exit_does_not_make_room_for_a_second_one() -> None:
    view = trade(a_view(3), -1)
    view = trade(view, -2, now_ns=START_NS + 1)
    late = after_row(view, 3, PRICE, now_ns=START_NS + 2)

    assert late.quantity == 3, "it may be so"
    assert late.closed_unseen(START_NS + 2) == 3
    assert after_row(view, 2, PRICE, now_ns=START_NS + 2).closed_unseen(START_NS + 2) == 2
    assert late.closed_unseen(START_NS + 2 + LATE_ROW_NS) == 0, "not for ever"
    assert after_row(late, 0, PRICE, now_ns=START_NS + 3).closed_unseen(START_NS + 3) == 0
    assert distrusted(late).closed_unseen(START_NS + 3) == 3, "a lost link says nothing"


@pytest.mark.parametrize(
    ("before", "traded", "row", "after_ns"),
    [
        (0, 1, 2, 1),  # the trade of an entry, and a row that knows of another
        (2, -2, 3, 1),  # more than there was
        (2, -2, -1, 1),  # the other way
        (2, -2, 2, SNAPSHOT_LAG_NS),  # too late to be late
    ],
)
def test_every_other_row_is_room_for_an_exit(
    before: int, traded: int, row: int, after_ns: int
) -> None:
    now_ns = START_NS + after_ns
    view = after_row(trade(a_view(before), traded), row, PRICE, now_ns=now_ns)

    assert view.quantity == row
    assert view.closed_unseen(now_ns) == 0


def test_a_row_makes_a_position_known_and_a_flat_one_has_no_price() -> None:
    stale = a_view(2, knowledge=Knowledge.STALE, average_price=PRICE)

    assert after_row(stale, 2, PRICE, now_ns=START_NS).knowledge is Knowledge.KNOWN
    assert after_row(stale, 0, PRICE, now_ns=START_NS).average_price is None


# -- reads ---------------------------------------------------------------------------------------


def test_a_read_that_agrees_makes_a_position_known() -> None:
    view = read(a_view(2, knowledge=Knowledge.STALE), 2, sent_ns=START_NS)

    assert view.knowledge is Knowledge.KNOWN
    assert view.is_settled
    assert not view.is_proven


def test_two_fresh_reads_that_agree_prove_a_position() -> None:
    view = read(a_view(), 0, sent_ns=START_NS)
    assert read(view, 0, sent_ns=START_NS + SETTLE_NS - 1).is_proven is False

    view = read(view, 0, sent_ns=START_NS + SETTLE_NS)

    assert view.is_proven
    assert read(view, 0, sent_ns=START_NS + SECOND_NS) == view, "nothing new, nothing to write"


@pytest.mark.parametrize("event", ["trade", "row", "leg", "link"])
def test_a_proof_ends_with_the_next_event(event: str) -> None:
    proven = a_view(agreed_reads=FLAT_READS)
    after = {
        "trade": trade(proven, 1),
        "row": after_row(proven, 0, PRICE, now_ns=START_NS),
        "leg": in_motion(proven, now_ns=START_NS),
        "link": distrusted(proven),
    }[event]

    assert not after.is_proven


def test_a_read_sent_before_the_last_event_says_nothing() -> None:
    view = trade(a_view(), 2, now_ns=START_NS)

    assert after_read(view, 0, None, sent_ns=START_NS - 1, taken=AT_START) == (view, 0)


def test_one_empty_read_does_not_make_flat() -> None:
    view = read(a_view(2), 0, sent_ns=START_NS)

    assert view.quantity == 2
    assert view.differing == 0
    assert not view.is_settled


def test_one_lagging_read_does_not_undo_a_row_although_no_trade_explains_it() -> None:
    """The trade of the row is lost, the snapshot is 800 ms old: two witnesses of yesterday."""
    view = after_row(a_view(), 2, PRICE, now_ns=START_NS)

    view = read(view, 0, sent_ns=START_NS + 1)

    assert view.quantity == 2


def test_two_fresh_reads_that_agree_move_the_ledger() -> None:
    first = read(a_view(2), 3, sent_ns=START_NS)
    second, delta = after_read(first, 3, PRICE, sent_ns=START_NS + SNAPSHOT_LAG_NS, taken=AT_START)

    assert delta == 1
    assert (second.quantity, second.ledger, second.adjustment) == (3, 3, 1)
    assert second.is_proven


def test_two_fresh_reads_can_side_with_the_trades_against_a_row() -> None:
    wrong = after_row(a_view(3), 2, PRICE, now_ns=START_NS)
    first = read(wrong, 3, sent_ns=START_NS + SNAPSHOT_LAG_NS)
    second, delta = after_read(
        first, 3, PRICE, sent_ns=START_NS + 2 * SNAPSHOT_LAG_NS, taken=AT_START
    )

    assert (second.quantity, second.adjustment, delta) == (3, 0, 0)


@pytest.mark.parametrize(
    ("second_sent_ns", "second_says"),
    [
        (START_NS + SETTLE_NS - 1, 3),  # the same look twice
        (START_NS + SNAPSHOT_LAG_NS, 4),  # they do not agree
    ],
)
def test_two_reads_that_are_one_or_disagree_decide_nothing(
    second_sent_ns: int, second_says: int
) -> None:
    view = read(a_view(2), 3, sent_ns=START_NS)

    assert read(view, second_says, sent_ns=second_sent_ns).quantity == 2


def test_a_snapshot_that_may_lag_the_stream_is_no_witness_against_it() -> None:
    """What a read shows so soon may be of before the trade; another that is wrong would decide."""
    view = trade(a_view(), 2, now_ns=START_NS)
    view = read(view, 0, sent_ns=START_NS + SNAPSHOT_LAG_NS - 1)
    assert view.differing == 0

    first_ns = START_NS + SNAPSHOT_LAG_NS + SETTLE_NS
    first = read(view, 0, sent_ns=first_ns)
    same = read(first, 0, sent_ns=first_ns + SETTLE_NS - 1)
    second = read(first, 0, sent_ns=first_ns + SETTLE_NS)

    assert [it.quantity for it in (first, same, second)] == [2, 2, 0]


def test_an_event_between_two_reads_starts_the_count_anew() -> None:
    view = read(a_view(2), 3, sent_ns=START_NS)
    view = after_row(view, 2, PRICE, now_ns=START_NS + 1)

    assert view.differing is None


def test_the_first_word_about_an_unknown_position_counts_at_once() -> None:
    unknown = PositionView(contract_id=MES)
    view = read(unknown, 2, sent_ns=START_NS)

    assert view.quantity == 2
    assert view.average_price == PRICE
    assert view.knowledge is Knowledge.UNKNOWN


def test_history_before_the_first_read_does_not_decide_the_position() -> None:
    """Long since Monday; today's trades alone would say short."""
    unknown = trade(PositionView(contract_id=MES), -1, now_ns=START_NS)
    assert unknown.quantity == -1

    view = read(unknown, 1, sent_ns=START_NS)
    assert view.quantity == 1

    view = read(view, 1, sent_ns=START_NS + SNAPSHOT_LAG_NS)
    assert (view.quantity, view.ledger, view.adjustment) == (1, 1, 2)
    assert view.knowledge is Knowledge.KNOWN


def test_a_lost_link_makes_known_stale_and_keeps_the_number() -> None:
    view = distrusted(a_view(2))

    assert (view.quantity, view.knowledge) == (2, Knowledge.STALE)
    assert distrusted(PositionView(contract_id=MES)).knowledge is Knowledge.UNKNOWN


def test_the_naked_clock_can_be_set() -> None:
    assert a_view(2).naked_since(7).naked_since_ns == 7


def test_an_older_trade_that_is_told_after_a_newer_one_is_never_added_to_a_row_with_both() -> None:
    """Bought 3, and 2 more; the row of the 3 comes before any trade, and that of the 5 is lost."""
    view = after_row(a_view(0), 3, PRICE, now_ns=START_NS)
    view = trade(view, 2, utc_us=START_US + 5000)
    view = trade(view, 3, utc_us=START_US)

    assert (view.quantity, view.ledger) == (3, 5)
    assert not view.is_settled

    view = read(view, 5, sent_ns=START_NS + SNAPSHOT_LAG_NS)
    view = read(view, 5, sent_ns=START_NS + 2 * SNAPSHOT_LAG_NS)
    assert (view.quantity, view.ledger, view.adjustment) == (5, 5, 0)


@pytest.mark.parametrize("newest_first", [False, True])
def test_trades_that_come_after_the_row_that_has_them_all_explain_it_in_any_order(
    *, newest_first: bool
) -> None:
    trades = [(3, START_US), (2, START_US + 5000)]
    view = after_row(a_view(0), 5, PRICE, now_ns=START_NS)
    for number, utc_us in trades[::-1] if newest_first else trades:
        view = trade(view, number, utc_us=utc_us)

    assert (view.quantity, view.ledger) == (5, 5)


# -- late trades after an adjustment ---------------------------------------------------------------


def an_adjusted_view() -> PositionView:
    """Return +3 of which no trade explains one: it was adjusted at START_US."""
    view = read(a_view(2), 3, sent_ns=START_NS)
    return read(view, 3, sent_ns=START_NS + SNAPSHOT_LAG_NS)


def test_a_late_trade_takes_the_adjustment_back() -> None:
    view = trade(an_adjusted_view(), 1, utc_us=START_US - 1)

    assert (view.quantity, view.traded, view.adjustment) == (3, 3, 0)


def test_a_new_trade_after_the_adjustment_is_a_new_contract() -> None:
    view = trade(an_adjusted_view(), 1, utc_us=START_US + 1)

    assert (view.quantity, view.adjustment) == (4, 1)


def test_a_late_trade_of_the_other_side_does_not_explain_the_adjustment() -> None:
    view = trade(an_adjusted_view(), -1, utc_us=START_US - 1)

    assert (view.quantity, view.adjustment) == (2, 1)


def test_a_late_trade_explains_no_more_than_was_adjusted() -> None:
    view = trade(an_adjusted_view(), 2, utc_us=START_US - 1)

    assert (view.quantity, view.adjustment) == (4, 0)


def found_and_closed() -> PositionView:
    """Return flat: reads found 3 that no trade explains, and at START_US 2 of them gone again."""
    view = a_view()
    for after, quantity in enumerate((3, 3, 1, 1)):
        sent_ns = START_NS + after * SNAPSHOT_LAG_NS
        view = after_read(view, quantity, PRICE, sent_ns=sent_ns, taken=AT_START, closed=3)[0]
    assert (view.quantity, view.in_question) == (1, 0)
    return view


def test_what_reads_added_and_took_away_counts_towards_both_sides() -> None:
    view = found_and_closed()

    assert (view.adjustment, view.adjusted_both_ways) == (1, 2)
    assert (view.adjusted_towards(1), view.adjusted_towards(-1)) == (3, 2)


@pytest.mark.parametrize("trades", list(permutations((3, -2))) + list(permutations((1, 2, -1, -1))))
def test_late_trades_of_an_entry_and_its_exit_move_nothing_one_by_one(trades: list[int]) -> None:
    view = found_and_closed()
    for quantity in trades:
        view = trade(view, quantity, utc_us=START_US)
        assert view.quantity == 1

    assert (view.traded, view.adjustment, view.adjusted_both_ways) == (1, 0, 0)


def test_a_trade_after_those_reads_is_a_new_contract() -> None:
    view = trade(found_and_closed(), -1, utc_us=START_US + 1)

    assert (view.quantity, view.adjusted_both_ways) == (0, 2)


def test_what_older_reads_had_counted_swallows_no_newer_trade() -> None:
    """Of 2 contracts that reads found, and found gone, no trade was ever told; then 4 more came."""
    later_us = START_US + 60 * 1_000_000
    view = found_and_closed()
    for after in (10, 11):
        sent_ns = START_NS + after * SNAPSHOT_LAG_NS
        view = read(view, 5, sent_ns=sent_ns, utc_us=later_us)
    assert (view.adjustment, view.adjusted_both_ways) == (5, 2)

    closed = trade(view, -2, utc_us=later_us)
    assert (closed.quantity, closed.adjusted_both_ways) == (3, 2), "those 2 are long gone"
    told_late = trade(view, -2, utc_us=START_US)
    assert (told_late.quantity, told_late.adjusted_both_ways) == (5, 0)


def test_reads_of_an_unknown_time_are_not_dated_by_newer_ones() -> None:
    later_us = START_US + 60 * 1_000_000
    view = replace(found_and_closed(), adjusted_from_utc_us=0)
    for after in (10, 11):
        sent_ns = START_NS + after * SNAPSHOT_LAG_NS
        view = read(view, 5, sent_ns=sent_ns, utc_us=later_us)
    assert (view.adjustment, view.adjusted_both_ways, view.is_bounded) == (5, 0, True)

    assert trade(view, -2, utc_us=START_US).quantity == 3


def test_a_late_trade_is_explained_by_the_first_reads_after_it() -> None:
    view = found_and_closed()
    view = trade(view, 3, utc_us=START_US)
    assert [it.contracts for it in view.moves] == [-2]

    view = trade(view, -2, utc_us=START_US)
    assert (view.moves, view.quantity) == ((), 1)


def test_a_trade_that_is_taken_back_is_news_whatever_reads_took_away() -> None:
    view = replace(found_and_closed(), traded=4, adjustment=-3)
    view = after_trade(view, 2, traded_utc_us=START_US, now_ns=START_NS, corrects=True)

    assert view.quantity == 3


def test_a_trade_of_about_the_time_of_those_reads_is_taken_for_theirs_and_read_again() -> None:
    view = trade(replace(found_and_closed(), adjusted_from_utc_us=START_US - 2), -2)

    assert (view.quantity, view.knowledge) == (1, Knowledge.STALE)


def test_reads_of_which_nobody_knows_the_time_swallow_no_more_than_they_left() -> None:
    """Every trade there will ever be may be older than they are."""
    view = replace(found_and_closed(), adjusted_from_utc_us=0)

    assert (view.adjusted_towards(1), view.adjusted_towards(-1)) == (1, 0)
    assert trade(view, 3).quantity == 3
    assert trade(view, -2).quantity == -1


def test_what_reads_give_back_was_no_fill() -> None:
    view = a_view(3)
    for after, quantity in enumerate((1, 1, 3, 3)):
        view = read(view, quantity, sent_ns=START_NS + after * SNAPSHOT_LAG_NS)

    assert (view.quantity, view.adjustment, view.adjusted_both_ways) == (3, 0, 0)


@given(
    known=st.lists(st.integers(-3, 3).filter(bool), max_size=4),
    lost=st.lists(st.integers(-3, 3).filter(bool), min_size=1, max_size=4),
    data=st.data(),
)
def test_late_trades_never_count_twice_after_an_adjustment(
    known: list[int], lost: list[int], data: st.DataObject
) -> None:
    """Every lost trade arrives at last, in any order; two fresh reads have the last word."""
    now_ns, view = START_NS, a_view()
    for quantity in known:
        view = trade(view, quantity, utc_us=START_US - 10, now_ns=now_ns)
    truth = sum(known) + sum(lost)

    def settle(view: PositionView) -> PositionView:
        nonlocal now_ns
        for _ in range(3):
            now_ns += SNAPSHOT_LAG_NS
            view = read(view, truth, sent_ns=now_ns)
        return view

    view = settle(view)
    assert (view.quantity, view.ledger) == (truth, truth)
    for quantity in data.draw(st.permutations(lost)):
        view = trade(view, quantity, utc_us=START_US - 5, now_ns=now_ns)
    if all(quantity > 0 for quantity in lost) or all(quantity < 0 for quantity in lost):
        assert (view.quantity, view.adjustment) == (truth, 0), "explained without a further read"
    view = settle(view)

    assert (view.quantity, view.ledger) == (truth, truth)
    assert view.traded == truth


# -- what reads alone take away --------------------------------------------------------------------


def taken_away(held: int = 3, left: int = 0, *, closed: int = 0) -> PositionView:
    """Return a view after two reads, the second sent at START_NS, that nothing else explains."""
    view = read(a_view(held), left, sent_ns=START_NS - SETTLE_NS)
    return after_read(view, left, PRICE, sent_ns=START_NS, taken=AT_START, closed=closed)[0]


@pytest.mark.parametrize(("held", "left", "gone"), [(3, 0, 3), (3, 1, 2), (-3, 0, -3), (3, -2, 3)])
def test_contracts_that_only_reads_call_gone_may_still_be_held(
    held: int, left: int, gone: int
) -> None:
    view = taken_away(held, left)

    assert (view.quantity, view.in_question) == (left, gone)
    assert view.possible == (left, held)
    assert not view.is_settled


@pytest.mark.parametrize(("left", "traded"), [(0, 1), (1, -1), (-1, 1), (-1, -1), (-1, -2)])
def test_what_is_held_if_those_reads_are_wrong_follows_the_trades_after_them(
    left: int, traded: int
) -> None:
    view = trade(taken_away(3, left), traded, utc_us=START_US + 1)

    assert view.if_reads_err == 3 + traded
    assert view.if_reads_err in view.possible


def test_reads_that_err_twice_took_what_was_held_before_the_first() -> None:
    turned = taken_away(3, -1)
    gone = read(turned, 0, sent_ns=START_NS + SETTLE_NS)
    gone = read(gone, 0, sent_ns=START_NS + 2 * SETTLE_NS)

    assert (turned.in_question, turned.possible) == (3, (-1, 3))
    assert (gone.in_question, gone.possible) == (3, (0, 3))


def test_a_row_of_a_position_that_turned_leaves_nothing_in_question() -> None:
    assert after_row(taken_away(3, -1), -1, PRICE, now_ns=START_NS).possible == (-1,)


def test_a_read_of_a_later_audit_settles_it() -> None:
    view = read(taken_away(), 0, sent_ns=START_NS + LATER_NS - 1)
    assert view.in_question == 3

    view = read(view, 0, sent_ns=START_NS + LATER_NS)
    assert (view.in_question, view.taken) == (0, 3)
    assert view.is_proven


def test_contracts_that_come_back_are_in_question_no_longer() -> None:
    view = read(taken_away(), 3, sent_ns=START_NS + SETTLE_NS)
    view = read(view, 3, sent_ns=START_NS + 2 * SETTLE_NS)

    assert (view.quantity, view.adjustment, view.taken) == (3, 0, 0)
    assert view.is_proven


def test_more_contracts_than_were_known_are_never_in_question() -> None:
    assert taken_away(3, 5).taken == 0


def test_what_an_order_is_known_to_have_closed_needs_no_later_read() -> None:
    assert taken_away(closed=3).is_proven
    assert taken_away(closed=1).in_question == 2


def test_a_row_that_says_the_same_settles_it_and_one_that_differs_does_not() -> None:
    assert after_row(taken_away(), 0, PRICE, now_ns=START_NS).taken == 0
    assert after_row(taken_away(), 3, PRICE, now_ns=START_NS).in_question == 3


def test_a_row_that_had_said_so_before_is_explanation_enough() -> None:
    view = after_row(a_view(3), 0, PRICE, now_ns=START_NS - 2 * SNAPSHOT_LAG_NS)
    view = read(view, 0, sent_ns=START_NS - SETTLE_NS)
    view = read(view, 0, sent_ns=START_NS)

    assert (view.ledger, view.taken) == (0, 0)


@pytest.mark.parametrize("when_us", [START_US - 1, START_US + 1])
def test_a_trade_that_closes_what_reads_took_away_is_the_same_contracts(when_us: int) -> None:
    """A stop that fires in that moment must not look like one that opened a position."""
    view = trade(taken_away(), -3, utc_us=when_us)
    assert (view.quantity, view.traded, view.adjustment, view.taken) == (0, 0, 0, 0)

    view = trade(taken_away(), -5, utc_us=when_us)
    assert (view.quantity, view.adjustment, view.taken) == (-2, 0, 0)


@pytest.mark.parametrize("trades", list(permutations((8, -1, -7))))
def test_trades_of_what_reads_found_and_took_away_add_up_to_nothing(trades: list[int]) -> None:
    """Reads saw the position come and go, and its trades are told afterwards: nothing is held."""
    view = a_view(0)
    for after, quantity in enumerate((8, 8, 0, 0)):
        view = read(view, quantity, sent_ns=START_NS + after * SNAPSHOT_LAG_NS)
    assert (view.quantity, view.in_question) == (0, 8)
    for quantity in trades:
        view = trade(view, quantity, utc_us=START_US - 1)

    assert (view.quantity, view.traded, view.adjustment, view.in_question) == (0, 0, 0, 0)


@pytest.mark.parametrize("trades", list(permutations((-18, 18, 1))))
def test_what_reads_added_and_took_away_before_is_no_news_while_the_rest_is_in_question(
    trades: list[int],
) -> None:
    """The trades of an entry, of its close and of the exit of the rest were all lost, and come."""
    view = a_view(-1)
    closed = (0, 0, 18, 18, 0, 0)
    for after, quantity in enumerate((-19, -19, -1, -1, 0, 0)):
        view = after_read(
            view,
            quantity,
            PRICE,
            sent_ns=START_NS + after * SNAPSHOT_LAG_NS,
            taken=AT_START,
            closed=closed[after],
        )[0]
    assert (view.quantity, view.in_question, view.adjusted_both_ways) == (0, -1, 18)
    for quantity in trades:
        view = trade(view, quantity, utc_us=START_US - 1)
        assert view.quantity == 0

    assert (view.traded, view.adjustment, view.in_question) == (0, 0, 0)


def test_a_trade_of_a_new_position_forgets_what_was_gone_before() -> None:
    view = read(taken_away(), 0, sent_ns=START_NS + LATER_NS)

    assert trade(view, 2, utc_us=START_US + 1).taken == 0
