"""A state that goes on record: the fold of the record is it, to the last member."""

import msgspec
import pytest
from tests.core.builders import Guard, a_guard_start, a_policy
from tests.core.liquidation_world import World
from tests.core.test_state_checkpoint import in_order

from backstop.core.engine import new_book
from backstop.core.standing_latches import standing_latches
from backstop.core.state_checkpoint import captured, decoded, encoded, restored
from backstop.core.taken_state import TakenState, fold_taken, payload_of, taken_state
from backstop.domain.events import HaltRequested
from backstop.domain.order import OrderState


def a_world() -> World:
    """Hold two contracts that are being taken flat, halted by a person as well."""
    world = World().hold(2).start()
    guard = world.guard
    guard.feed(HaltRequested(utc_us=guard.utc_us, reason="the news", operator="eve"))
    world.liquidate()
    return world


def an_entry(world: World) -> TakenState:
    return taken_state(
        world.guard.book, source="trading_state.json", record="ab", journal_seq=7, kept=""
    )


def test_the_fold_is_the_state_and_keeps_the_rules_of_its_time() -> None:
    world = a_world()
    entry = an_entry(world)
    book = new_book(a_policy(max_order_quantity=3))
    fold_taken(book, payload_of(entry), now_ns=1, utc_us=2)

    assert book.policy.max_order_quantity == 3
    assert book.taken_digest == entry.digest
    book.policy, book.taken_digest = world.guard.book.policy, ""
    assert in_order(book) == in_order(world.guard.book)
    assert standing_latches(book) == entry.latches


def test_the_book_that_comes_out_goes_on() -> None:
    """What is derived from its members follows them, as in a book that was always this one."""
    world = a_world()
    taken = Guard()
    fold_taken(taken.book, payload_of(an_entry(world)), now_ns=taken.now_ns, utc_us=taken.utc_us)
    kept = restored(decoded(encoded(captured(taken.book))))
    taken.feed(a_guard_start(utc_us=taken.utc_us))

    assert in_order(kept) != in_order(taken.book)
    assert [it.state for it in taken.book.liquidations.values()] == [
        it.state for it in kept.liquidations.values()
    ]
    assert taken.book.positions.keys() == world.guard.book.positions.keys()


def test_the_tables_get_a_row_of_every_order_and_every_fill() -> None:
    guard = Guard().start()
    decision = guard.submit()
    assert decision.order is not None
    entry = taken_state(guard.book, source="s", record="r", journal_seq=1, kept="")
    rows = fold_taken(new_book(a_policy()), payload_of(entry), now_ns=1, utc_us=2)

    assert [it.client_order_id for it in rows.order_rows] == [decision.order.client_order_id]
    assert {it.status for it in rows.order_rows} == {str(OrderState.INTENDED)}
    assert (rows.commands, rows.notes, rows.proofs_due) == ((), (), ())


def test_a_state_of_another_form_gives_what_nobody_could_find_out_again() -> None:
    world = a_world()
    other = msgspec.structs.replace(an_entry(world), book=msgspec.Raw(b'{"of":"tomorrow"}'))
    book = new_book(a_policy())
    fold_taken(book, payload_of(other), now_ns=1, utc_us=2)

    latches = {(it.kind, it.cause) for it in world.guard.book.latches}
    assert {(it.kind, it.cause) for it in book.latches} == latches
    assert len(book.liquidations) == 1
    assert book.taken_digest == other.digest


def test_what_is_no_such_entry_is_refused() -> None:
    with pytest.raises(ValueError, match="digest"):
        fold_taken(new_book(a_policy()), b"{}", now_ns=1, utc_us=2)
