"""The arithmetic of protection: what lacks, at which levels, and what shrinks."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from backstop.core.protection_plan import (
    Cover,
    Origin,
    Share,
    after_cuts,
    lacking,
    shares,
    stop_cuts,
    target_cuts,
    total,
)
from backstop.core.protection_record import Lot

LEG = Origin.LEG


def a_cover(quantity: int, number: int = 1, **changes: Any) -> Cover:
    members: dict[str, Any] = {
        "broker_order_id": number,
        "quantity": quantity,
        "ticks": 100,
        "origin": Origin.LEG,
    }
    return Cover(**(members | changes))


def a_lot(quantity: int, stop_ticks: int | None, owner: str = "c1") -> Lot:
    return Lot(owner=owner, sign=1, filled_quantity=quantity, stop_ticks=stop_ticks)


# -- what lacks ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quantity", "working", "coming", "missing"),
    [(3, 0, 0, 3), (3, 1, 0, 2), (3, 1, 2, 0), (3, 5, 0, 0), (0, 0, 0, 0), (3, 2, 2, 0)],
)
def test_what_works_or_is_on_its_way_is_not_placed(
    quantity: int, working: int, coming: int, missing: int
) -> None:
    assert lacking(quantity, [a_cover(working)], [a_cover(coming)]) == missing


def test_what_leaves_is_replaced_while_it_still_works() -> None:
    assert lacking(2, [a_cover(3, leaving=True)], []) == 2


# -- at which levels -------------------------------------------------------------------------------


def test_the_newest_lot_without_its_stop_comes_first() -> None:
    lots = [a_lot(2, 80, "old"), a_lot(1, 90, "new")]

    assert shares(1, lots, [], fallback_ticks=70) == (Share(quantity=1, ticks=90),)
    assert shares(3, lots, [], fallback_ticks=70) == (
        Share(quantity=1, ticks=90),
        Share(quantity=2, ticks=80),
    )


def test_a_lot_whose_leg_works_needs_none() -> None:
    lots = [a_lot(2, 80, "old"), a_lot(1, 90, "new")]
    stops = [a_cover(1, owner="new")]

    assert shares(2, lots, stops, fallback_ticks=None) == (Share(quantity=2, ticks=80),)


def test_a_stop_of_our_own_stands_for_the_lots_of_its_level() -> None:
    lots = [a_lot(2, 80, "old"), a_lot(1, 90, "new")]
    stops = [a_cover(2, ticks=80, origin=Origin.OWN)]

    assert shares(1, lots, stops, fallback_ticks=None) == (Share(quantity=1, ticks=90),)


def test_contracts_of_unknown_origin_get_the_fallback() -> None:
    assert shares(3, [a_lot(1, 90)], [], fallback_ticks=70) == (
        Share(quantity=1, ticks=90),
        Share(quantity=2, ticks=70),
    )
    assert shares(2, [], [], fallback_ticks=None) == (Share(quantity=2, ticks=None),)


def test_lots_that_were_given_no_stop_ask_for_none_of_their_own() -> None:
    assert shares(2, [a_lot(2, None)], [], fallback_ticks=70) == (Share(quantity=2, ticks=70),)


# -- what shrinks ----------------------------------------------------------------------------------


def test_stops_of_others_go_before_our_own_and_those_before_legs() -> None:
    stops = [
        a_cover(2, 1, origin=Origin.BOT),
        a_cover(2, 2, origin=Origin.LEG),
        a_cover(2, 3, origin=Origin.OWN),
        a_cover(2, 4, origin=Origin.FOREIGN),
    ]

    cuts = stop_cuts(3, stops, sign=1)

    assert [(cut.cover.broker_order_id, cut.to_quantity) for cut in cuts] == [
        (4, 0),
        (3, 0),
        (2, 1),
    ]


@pytest.mark.parametrize("level", [80, 100, 120])
@pytest.mark.parametrize("origin", [Origin.OWN, Origin.LEG, Origin.BOT])
@pytest.mark.parametrize("sign", [1, -1])
def test_wherever_a_stop_of_somebody_else_stands_the_approved_one_stays(
    level: int, origin: Origin, sign: int
) -> None:
    stops = [a_cover(2, 1, origin=origin), a_cover(2, 2, ticks=level, origin=Origin.FOREIGN)]

    (cut,) = stop_cuts(2, stops, sign=sign)

    assert (cut.cover.origin, cut.to_quantity) == (Origin.FOREIGN, 0)


@pytest.mark.parametrize(
    ("sign", "level", "first"),
    [
        (1, 80, Origin.FOREIGN),
        (1, 100, Origin.OWN),
        (1, 120, Origin.OWN),
        (-1, 120, Origin.FOREIGN),
        (-1, 100, Origin.OWN),
        (-1, 80, Origin.OWN),
    ],
)
def test_a_stop_at_a_level_that_nobody_asked_for_yields_to_one_that_loses_no_more(
    sign: int, level: int, first: Origin
) -> None:
    stops = [
        a_cover(2, 1, origin=Origin.OWN, made_up=True),
        a_cover(2, 2, ticks=level, origin=Origin.FOREIGN),
    ]

    (cut,) = stop_cuts(2, stops, sign=sign)

    assert cut.cover.origin is first


@pytest.mark.parametrize(("sign", "farthest"), [(1, 90), (-1, 110)])
def test_among_equals_the_one_farthest_from_the_market_goes(sign: int, farthest: int) -> None:
    stops = [a_cover(1, 1, ticks=90), a_cover(1, 2, ticks=110), a_cover(1, 3, ticks=100)]

    (cut,) = stop_cuts(2, stops, sign=sign)

    assert cut.cover.ticks == farthest


def test_a_stop_of_unknown_level_may_be_the_nearest_and_stays() -> None:
    (cut,) = stop_cuts(1, [a_cover(1, 1, ticks=None), a_cover(1, 2, ticks=500)], sign=1)

    assert cut.cover.broker_order_id == 2


def test_of_a_bot_s_own_stops_the_newest_stays() -> None:
    stops = [a_cover(2, 7, origin=Origin.BOT), a_cover(2, 5, origin=Origin.BOT)]

    (cut,) = stop_cuts(2, stops, sign=1)

    assert (cut.cover.broker_order_id, cut.to_quantity) == (5, 0)


@pytest.mark.parametrize("nearer", [Origin.OWN, Origin.LEG, Origin.BOT])
@pytest.mark.parametrize("sign", [1, -1])
def test_where_no_stop_may_be_moved_away_the_nearest_of_the_approved_ones_stays(
    nearer: Origin, sign: int
) -> None:
    stops = [
        a_cover(2, 1, ticks=100, origin=nearer),
        a_cover(2, 7, ticks=100 - 20 * sign, origin=Origin.BOT),
        a_cover(2, 3, ticks=100 + 20 * sign, origin=Origin.FOREIGN),
        a_cover(2, 4, ticks=100 - 10 * sign, origin=Origin.OWN, made_up=True),
    ]

    cuts = stop_cuts(2, stops, sign=sign, may_widen=False)

    assert {cut.cover.broker_order_id for cut in cuts} == {3, 4, 7}


@pytest.mark.parametrize(("may_widen", "goes"), [(True, Origin.OWN), (False, Origin.BOT)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_bot_s_wider_stop_displaces_the_one_of_the_settings_only_where_it_may_be_moved_away(
    sign: int, goes: Origin, *, may_widen: bool
) -> None:
    stops = [
        a_cover(2, 1, ticks=100, origin=Origin.OWN, made_up=True),
        a_cover(2, 7, ticks=100 - 20 * sign, origin=Origin.BOT),
    ]

    (cut,) = stop_cuts(2, stops, sign=sign, may_widen=may_widen)

    assert cut.cover.origin is goes


@pytest.mark.parametrize("may_widen", [True, False])
def test_a_nearer_stop_of_somebody_else_beside_the_one_of_the_settings_stays_in_any_state(
    *, may_widen: bool
) -> None:
    stops = [
        a_cover(2, 1, ticks=100, origin=Origin.OWN, made_up=True),
        a_cover(2, 7, ticks=120, origin=Origin.FOREIGN),
    ]

    (cut,) = stop_cuts(2, stops, sign=1, may_widen=may_widen)

    assert cut.cover.origin is Origin.OWN


def test_what_cannot_shrink_stays_whole_until_it_can_go_whole() -> None:
    leaving = a_cover(3, 1, leaving=True)

    assert stop_cuts(2, [leaving], sign=1) == ()
    (cut,) = stop_cuts(2, [leaving, a_cover(2, 2, origin=Origin.OWN)], sign=1)
    assert (cut.cover.broker_order_id, cut.to_quantity) == (1, 0)


def test_what_did_not_shrink_is_asked_again_where_nothing_may_ever_take_over() -> None:
    leaving = a_cover(3, 1, leaving=True)

    (cut,) = stop_cuts(2, [leaving], sign=1, asks_again=True)
    assert cut.to_quantity == 2
    (cut,) = stop_cuts(2, [leaving, a_cover(2, 2, origin=Origin.OWN)], sign=1, asks_again=True)
    assert (cut.cover.broker_order_id, cut.to_quantity) == (1, 0)


def test_a_target_that_cannot_shrink_goes_whole() -> None:
    (cut,) = target_cuts(2, [a_cover(3, 1, leaving=True)], [], sign=1)

    assert cut.to_quantity == 0


def test_the_target_of_a_lot_whose_stop_shrank_shrinks_with_it() -> None:
    targets = [a_cover(2, 1, owner="a", ticks=120), a_cover(2, 2, owner="b", ticks=130)]
    stops = [a_cover(1, 3, owner="a"), a_cover(2, 4, owner="b")]

    (cut,) = target_cuts(3, targets, stops, sign=1)

    assert (cut.cover.owner, cut.to_quantity) == ("a", 1)


@pytest.mark.parametrize(("sign", "farthest"), [(1, 130), (-1, 70)])
def test_among_targets_the_farthest_goes(sign: int, farthest: int) -> None:
    targets = [a_cover(1, 1, ticks=130), a_cover(1, 2, ticks=70)]

    (cut,) = target_cuts(1, targets, [], sign=sign)

    assert cut.cover.ticks == farthest


def test_a_target_goes_before_one_whose_stop_would_go_with_it() -> None:
    targets = [a_cover(1, 1, owner="a", ticks=120), a_cover(2, 2, owner="b", ticks=130)]
    stops = [a_cover(0, 3, owner="a"), a_cover(1, 4, owner="b")]

    cuts = target_cuts(1, targets, stops, sign=1)

    assert {cut.cover.owner: cut.to_quantity for cut in cuts} == {"a": 0, "b": 1}


def test_covers_after_their_cuts_keep_who_they_are() -> None:
    stops = (a_cover(2, 1, owner="a"), a_cover(2, 2, owner="b", ticks=90))

    left = after_cuts(stops, stop_cuts(3, stops, sign=1))

    assert [(cover.owner, cover.quantity) for cover in left] == [("a", 2), ("b", 1)]


# -- whatever there is -----------------------------------------------------------------------------

COVERS = st.lists(
    st.builds(
        Cover,
        broker_order_id=st.integers(1, 10**6),
        quantity=st.integers(1, 5),
        ticks=st.none() | st.integers(50, 150),
        origin=st.sampled_from(Origin),
        owner=st.sampled_from(["", "a", "b"]),
        leaving=st.booleans(),
    ),
    max_size=5,
    unique_by=lambda cover: cover.broker_order_id,
)


@given(
    quantity=st.integers(0, 8),
    stops=COVERS,
    sign=st.sampled_from([1, -1]),
    asks_again=st.booleans(),
)
def test_a_cut_never_leaves_less_than_is_needed(
    quantity: int, stops: list[Cover], sign: int, *, asks_again: bool
) -> None:
    left = total(after_cuts(stops, stop_cuts(quantity, stops, sign=sign, asks_again=asks_again)))

    assert left >= min(quantity, total(stops))
    if asks_again:
        assert left == min(quantity, total(stops))


@given(st.integers(0, 8), COVERS, st.sampled_from([1, -1]))
def test_without_anything_that_cannot_shrink_the_rest_is_exact(
    quantity: int, stops: list[Cover], sign: int
) -> None:
    able = [cover for cover in stops if not cover.leaving]

    left = total(after_cuts(able, stop_cuts(quantity, able, sign=sign)))

    assert left == min(quantity, total(able))


@given(st.integers(0, 8), COVERS, st.lists(st.integers(0, 5), min_size=5, max_size=5))
def test_targets_shrink_to_the_position_and_leave_a_stop_for_all_of_it(
    quantity: int, targets: list[Cover], sizes: list[int]
) -> None:
    """Each is of an entry of its own, whose stop goes with it; what is leaving may go too."""
    targets = [replace(it, owner=str(it.broker_order_id), leaving=False) for it in targets]
    stops = [replace(it, quantity=size) for it, size in zip(targets, sizes, strict=False)]

    cuts = target_cuts(quantity, targets, stops, sign=1)

    assert total(after_cuts(targets, cuts)) == min(quantity, total(targets))
    gone = {cut.cover.owner for cut in cuts if not cut.to_quantity and cut.cover.origin is LEG}
    staying = total(stop for stop in stops if stop.owner not in gone)
    assert staying >= min(quantity, total(stops))


APPROVED = st.lists(
    st.builds(
        Cover,
        broker_order_id=st.integers(1, 10**6),
        quantity=st.integers(1, 3),
        ticks=st.integers(95, 105),
        origin=st.sampled_from([Origin.OWN, Origin.LEG, Origin.BOT]),
        made_up=st.booleans(),
    ),
    max_size=5,
    unique_by=lambda cover: cover.broker_order_id,
)


def levels(stops: Iterable[Cover], sign: int) -> list[int]:
    """Return the level of every contract that is covered, the nearest to the market first."""
    found = [stop.ticks for stop in stops for _ in range(stop.quantity) if stop.ticks is not None]
    return sorted(found, reverse=sign > 0)


@given(quantity=st.integers(0, 8), stops=APPROVED, sign=st.sampled_from([1, -1]))
def test_where_no_stop_may_be_moved_away_no_contract_loses_more_than_it_had_to(
    quantity: int, stops: list[Cover], sign: int
) -> None:
    left = after_cuts(stops, stop_cuts(quantity, stops, sign=sign, may_widen=False))

    assert levels(left, sign) == levels(stops, sign)[:quantity]


@given(st.integers(1, 8), COVERS, st.sampled_from([1, -1]))
def test_placing_what_lacks_and_cutting_what_is_too_much_ends_exact(
    quantity: int, stops: list[Cover], sign: int
) -> None:
    """However often it takes: each round places first and cuts then."""
    number = 10**7
    covers = list(stops)
    for _ in range(3):
        missing = lacking(quantity, covers, [])
        if missing:
            number += 1
            covers.append(a_cover(missing, number, origin=Origin.OWN))
        before = total(covers)
        cuts = {
            cut.cover.broker_order_id: cut.to_quantity
            for cut in stop_cuts(quantity, covers, sign=sign)
        }
        covers = [
            a_cover(left, cover.broker_order_id, origin=cover.origin, leaving=cover.leaving)
            for cover in covers
            if (left := cuts.get(cover.broker_order_id, cover.quantity))
        ]
        assert total(covers) >= min(before, quantity)

    assert total(covers) == quantity


@given(st.integers(1, 9), st.lists(st.integers(50, 150), max_size=4), st.none() | st.just(1))
def test_shares_add_up_to_what_lacks(number: int, levels: list[int], fallback: int | None) -> None:
    lots = [a_lot(2, level, f"c{place}") for place, level in enumerate(levels)]

    found = shares(number, lots, [], fallback_ticks=fallback)

    assert sum(share.quantity for share in found) == number
    assert all(share.quantity > 0 for share in found)


def test_what_takes_over_is_not_cut_while_what_leaves_cannot_go_yet() -> None:
    """Else the one is placed and cancelled, again and again, as long as the other works."""
    stops = [a_cover(3, 1, leaving=True), a_cover(2, 2, origin=Origin.OWN)]

    assert stop_cuts(4, stops, sign=1) == ()
    assert lacking(4, stops, []) == 2
    assert [cut.cover.leaving for cut in stop_cuts(2, stops, sign=1)] == [True]
    beyond = [a_cover(3, 1, leaving=True), a_cover(5, 2, origin=Origin.OWN)]
    assert [(it.cover.leaving, it.to_quantity) for it in stop_cuts(4, beyond, sign=1)] == [
        (True, 0),
        (False, 4),
    ]
