"""A book that was written down and read again is the same book, whatever happened before."""

import json
from collections import OrderedDict, deque
from dataclasses import dataclass, field, fields
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct
from tests.core.builders import Guard, a_guard_start, a_policy
from tests.core.histories import a_day, feed, histories

from backstop.core.book import Book
from backstop.core.engine import next_deadline_ns, step
from backstop.core.policy import SECOND_NS
from backstop.core.state_checkpoint import (
    LEFT_OUT,
    captured,
    decoded,
    encoded,
    form_of,
    restored,
)
from backstop.domain.events import StopKind

MANY = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def written_and_read(book: Book) -> Book:
    return restored(decoded(encoded(captured(book))))


def in_order(value: Any) -> Any:
    """Return ``value`` so that equality also sees the order of dictionaries."""
    match value:
        case dict():
            return [(key, in_order(held)) for key, held in value.items()]
        case deque() | list():
            return [in_order(held) for held in value]
        case _ if hasattr(value, "__dataclass_fields__"):
            kept = [it.name for it in fields(value) if it.name not in LEFT_OUT]
            return [(name, in_order(getattr(value, name))) for name in kept]
        case _:
            return value


def same(one: Book, other: Book) -> None:
    assert in_order(one) == in_order(other)


# -- the book goes and comes back ----------------------------------------------------------------


def test_every_member_of_the_book_is_kept_or_named_with_a_reason() -> None:
    kept = set(captured(Book(policy=a_policy())).__struct_fields__)
    members = {it.name for it in fields(Book)}

    assert kept | set(LEFT_OUT) == members
    assert not kept & set(LEFT_OUT)
    assert all(reason.strip() for reason in LEFT_OUT.values())


def test_a_day_comes_back_to_the_last_member() -> None:
    guard = a_day()
    filled = {it.name for it in fields(Book) if getattr(guard.book, it.name)}

    same(written_and_read(guard.book), guard.book)
    assert {"orders", "live", "venue_orders", "trades", "positions", "latches", "wakes"} <= {
        *filled
    }


def test_what_was_captured_is_not_touched_by_what_happens_next() -> None:
    guard = a_day()
    state = captured(guard.book)
    before = encoded(state)
    guard.trade(trade_id=900, broker_order_id=77)
    guard.feed(a_guard_start(utc_us=guard.utc_us))

    assert encoded(state) == before
    assert in_order(restored(state)) != in_order(guard.book)


@MANY
@given(history=histories(), cut=st.floats(0, 1))
def test_a_checkpoint_and_the_rest_are_the_whole_history(history: list[Any], cut: float) -> None:
    """At every later fact the two books make the same step and want the same deadline."""
    whole = Guard(policy=a_policy(archives=True))
    place = round(cut * len(history))
    for act in history[:place]:
        feed(whole, act)
    book = written_and_read(whole.book)
    same(book, whole.book)
    for act in history[place:]:
        told = len(whole.history)
        feed(whole, act)
        for event, now_ns, result in whole.history[told:]:
            assert step(book, event, now_ns) == result
        assert next_deadline_ns(book) == next_deadline_ns(whole.book)
    same(book, whole.book)


def test_the_state_is_no_larger_after_a_thousand_orders_than_after_two_hundred() -> None:
    guard = Guard(policy=a_policy(archives=True, max_orders_per_second=1000)).start()
    sizes = {}
    for number in range(1, 1001):
        guard.now_ns += SECOND_NS
        a_round_trip(guard, number)
        if number in {200, 1000}:
            sizes[number] = len(encoded(captured(guard.book)))

    assert sizes[1000] < sizes[200] * 1.1


def a_round_trip(guard: Guard, number: int) -> None:
    """Buy one contract, or sell it again, and have the account read."""
    side = "BUY" if number % 2 else "SELL"
    feed(guard, ("round", number, side))


def test_a_state_of_another_form_is_refused_with_the_member_that_differs() -> None:
    state = json.loads(encoded(captured(a_day().book)))
    del state["positions"]

    with pytest.raises(msgspec.ValidationError, match="positions"):
        decoded(json.dumps(state).encode())


def test_how_the_process_before_ended_is_part_of_the_fact() -> None:
    started = a_guard_start(stop=StopKind.CRASH, downtime_ms=1500, wall_clock=True)

    assert msgspec.json.decode(msgspec.json.encode(started), type=type(started)) == started


# -- forms ---------------------------------------------------------------------------------------


class Colour(StrEnum):
    RED = "RED"


class Value(Struct, frozen=True):
    price: Decimal


class Loose(Struct):
    number: int


@dataclass
class Inner:
    newest: deque[Value] = field(default_factory=lambda: deque(maxlen=2))


@dataclass
class Outer:
    by_number: dict[int, Value]
    by_pair: dict[tuple[str, int], Value]
    by_colour: OrderedDict[Colour, Inner]
    maybe: Inner | None
    many: list[Inner]


def through(kind: Any, value: Any) -> Any:
    form = form_of(kind, "it")
    kept = msgspec.json.decode(msgspec.json.encode(form.freeze(value)), type=form.kept)
    return form.thaw(kept)


@pytest.mark.parametrize("maybe", [None, Inner(deque([Value(Decimal(1))], maxlen=2))])
def test_nested_records_and_containers_come_back_as_they_were(maybe: Inner | None) -> None:
    inner = Inner(deque([Value(Decimal("0.10")), Value(Decimal(2))], maxlen=2))
    outer = Outer(
        by_number={7: Value(Decimal(1)), 3: Value(Decimal(2))},
        by_pair={("MES", 1): Value(Decimal(3))},
        by_colour=OrderedDict({Colour.RED: inner}),
        maybe=maybe,
        many=[inner],
    )

    found = through(Outer, outer)

    assert in_order(found) == in_order(outer)
    assert isinstance(found.by_colour, OrderedDict)
    assert str(found.many[0].newest[0].price) == "0.10"
    found.many[0].newest.append(Value(Decimal(9)))
    assert len(found.many[0].newest) == 2


@pytest.mark.parametrize(
    "kind", [set[int], Fraction, Loose, dict[str, Fraction], Inner | Outer, dict[Loose, int], Any]
)
def test_a_type_that_would_not_come_back_is_refused_by_name(kind: Any) -> None:
    with pytest.raises(TypeError, match=r"Book\.member"):
        form_of(kind, "Book.member")
