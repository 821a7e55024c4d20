"""The newest quotes, and how old they are."""

import asyncio
from decimal import Decimal

from tests.app.desk import JumpingClock

from backstop.app.quote_board import QuoteBoard
from backstop.domain.order import Side
from backstop.domain.quote import Mark, Quote

MES, MNQ = "CON.F.US.MES.Z26", "CON.F.US.MNQ.Z26"


def a_quote(contract_id: str = MES, **parts: Decimal) -> Quote:
    return Quote(contract_id=contract_id, **parts)


def test_a_contract_that_was_never_quoted_has_no_reference() -> None:
    board = QuoteBoard(JumpingClock())

    assert board.reference(MES) is None
    assert board.contracts() == ()
    assert board.marks() == ()


def test_a_reference_says_how_old_it_is_at_this_moment() -> None:
    clock = JumpingClock()
    board = QuoteBoard(clock)
    board.put(a_quote(bid=Decimal(5000), ask=Decimal("5000.25")), clock.monotonic_ns())
    clock.jump(60)
    old = board.reference(MES)
    board.put(a_quote(bid=Decimal(5001), ask=Decimal("5001.25")), clock.monotonic_ns())
    new = board.reference(MES)

    assert old is not None
    assert new is not None
    assert old.age_ms >= 60_000
    assert new.age_ms < old.age_ms
    assert new.touch(Side.BUY) == Decimal("5001.25")
    assert new.touch(Side.SELL) == Decimal(5001)


def test_a_quote_from_the_future_is_new_and_not_negative() -> None:
    clock = JumpingClock()
    board = QuoteBoard(clock)
    board.put(a_quote(last=Decimal(5000)), clock.monotonic_ns() + 10**12)

    reference = board.reference(MES)
    assert reference is not None
    assert reference.age_ms == 0


def test_a_mark_is_the_last_trade_else_the_middle_of_the_touch() -> None:
    clock = JumpingClock()
    board = QuoteBoard(clock)
    board.put(
        a_quote(bid=Decimal(5000), ask=Decimal("5000.25"), last=Decimal("5000.25")),
        clock.monotonic_ns(),
    )
    board.put(a_quote(MNQ, bid=Decimal(20000), ask=Decimal("20000.50")), clock.monotonic_ns())
    board.put(a_quote("CON.F.US.M2K.Z26", bid=Decimal(2000)), clock.monotonic_ns())

    assert board.marks() == (
        Mark(contract_id=MES, price=Decimal("5000.25")),
        Mark(contract_id=MNQ, price=Decimal("20000.25")),
    )


def test_a_print_that_its_touch_contradicts_marks_nothing() -> None:
    clock = JumpingClock()
    board = QuoteBoard(clock)
    for last in (Decimal(5000), Decimal(0)):
        quote = a_quote(bid=Decimal(5000), ask=Decimal("5000.25"), last=last)
        board.put(quote, clock.monotonic_ns())

    assert board.marks() == (Mark(contract_id=MES, price=Decimal(5000)),)


async def test_whoever_waits_for_a_change_hears_of_the_next_quote() -> None:
    clock = JumpingClock()
    board = QuoteBoard(clock)
    board.put(a_quote(last=Decimal(5000)), clock.monotonic_ns())
    waiting = [asyncio.create_task(board.changed()) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)

    board.put(a_quote(last=Decimal(5001)), clock.monotonic_ns())
    async with asyncio.timeout(5):
        await asyncio.gather(*waiting)
