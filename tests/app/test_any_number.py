"""Whatever numbers and names a bot passes, it gets an answer, and the guard goes on."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.app.desk import PATIENCE_S, Desk, Guard

from backstop.app.disaster_recovery_system import DisasterRecoverySystem
from backstop.core.step import DecisionKind
from backstop.core.trading_state import TradingState
from backstop.domain.denial import DenialCode
from backstop.domain.order import OrderType, Side
from backstop.domain.wish_terms import QUANTITY_MAX, WISH_BYTES_MAX
from backstop.errors import BackstopError, DomainError

pytestmark = pytest.mark.asyncio(loop_scope="module")

numbers = st.one_of(
    st.decimals(),
    st.builds(
        lambda digits, exponent: Decimal(digits).scaleb(exponent),
        st.integers(-99, 99),
        st.sampled_from((-999_999, -5_000, -31, 9, 28, 5_000, 999_000)),
    ),
    st.sampled_from(
        [Decimal(text) for text in ("sNaN", "-Infinity", "0E-1000000", "-1E+999999999")]
    ),
)
wholes = st.one_of(
    st.integers(), st.integers(min_value=1).map(lambda digits: 10 ** (digits % 6000))
)


def calls(
    guard: Guard, filled: str, resting: str, number: Decimal, whole: int
) -> Iterator[Callable[[], Awaitable[Any]]]:
    """Yield every operation that takes a number, with these."""
    manager, market = guard.manager, guard.request()
    limit = guard.request(Side.BUY, 1, OrderType.LIMIT, ticks=-200)
    stop = guard.request(Side.BUY, 1, OrderType.STOP, ticks=200)
    offsets = replace(market, stop_loss_price=None, stop_loss_offset_ticks=whole)
    for request in (
        replace(market, quantity=whole),
        replace(market, stop_loss_price=number),
        replace(market, take_profit_price=number),
        replace(limit, limit_price=number),
        replace(stop, stop_price=number),
        replace(offsets, client_order_id="offsets"),
    ):
        yield partial(manager.what_if, request)
        yield partial(manager.submit_order, request)
        yield partial(manager.register_pending_order, request)
    change: dict[str, Any] = {"quantity": None, "limit_price": None, "stop_price": None}
    for changed in ({"quantity": whole}, {"limit_price": number}, {"stop_price": number}):
        yield partial(manager.modify_order, resting, **change | changed)
    yield lambda: manager.change_leg(whole, price=number)
    person = {"reason": "news", "operator": "Ada"}
    for name in ("daily_loss", "trailing_loss", "max_position"):
        yield partial(manager.change_limits, **{name: number}, **person)
    yield lambda: manager.verify_execution(filled, max_slippage_ticks=number, timeout_s=0)
    yield lambda: manager.verify_execution(filled, expected_quantity=whole, timeout_s=0)
    yield lambda: manager.verify_execution(filled, timeout_s=number)
    yield lambda: manager.protect_position("MES", stop_price=number)
    yield lambda: manager.protect_position("MES", take_profit_price=number)
    yield lambda: manager.close_position("MES", quantity=whole)
    yield lambda: manager.disaster_recovery.add_position(
        "MES", whole, stop_price=number, timeout_s=0
    )
    yield lambda: manager.update_exposure("MES", whole, timeout_s=0)
    yield lambda: manager.correlation_protection.validate_new_position("MES", Side.BUY, whole)
    yield lambda: manager.acknowledge_alert(whole, operator="Ada")


async def answered(guard: Guard, filled: str, resting: str, number: Decimal, whole: int) -> None:
    for call in calls(guard, filled, resting, number, whole):
        with suppress(BackstopError):  # everything that is documented is of this tree
            async with asyncio.timeout(PATIENCE_S):
                await call()


async def test_no_number_ends_the_guard_or_raises_what_is_not_documented(desk: Desk) -> None:
    async with desk.guard(DUPLICATE_WINDOW_MS=0) as guard:
        order = await guard.enter(Side.BUY, 2)
        resting = await guard.send(guard.request(Side.BUY, 1, OrderType.LIMIT, ticks=-200))
        await guard.holds(2)
        names, loop = (order.client_order_id, resting.client_order_id), asyncio.get_running_loop()

        @settings(max_examples=25)
        @example(number=Decimal("1E+999999999"), whole=10**26)
        @example(number=Decimal("-1E-999999999"), whole=-(10**26))
        @example(number=Decimal("sNaN"), whole=10**4000)
        @example(number=Decimal("NaN"), whole=10**6000)
        @example(number=Decimal("-Infinity"), whole=0)
        @given(number=numbers, whole=wholes)
        def is_answered(number: Decimal, whole: int) -> None:
            asking = answered(guard, *names, number, whole)
            asyncio.run_coroutine_threadsafe(asking, loop).result(PATIENCE_S)

        await asyncio.to_thread(is_answered)

        halted = await guard.manager.halt(reason="enough", operator="Ada")
        assert halted.kind is DecisionKind.ACCEPTED
        assert guard.manager.components.keys() <= {"market history"}


async def test_what_no_order_can_be_is_refused_at_the_embedded_door_as_over_http(
    desk: Desk,
) -> None:
    async with desk.guard() as guard:
        manager, request = guard.manager, guard.request()
        order = await guard.enter(Side.BUY, 2)
        await guard.holds(2)
        for quantity in (0, -1, QUANTITY_MAX + 1):
            decision = await manager.close_position("MES", quantity=quantity)
            assert decision.kind is DecisionKind.REFUSED
            assert [it.code for it in decision.denials] == [DenialCode.QUANTITY_INVALID]
        assert guard.book.liquidations == {}
        added = await manager.disaster_recovery.add_position("MES", 7, stop_price=Decimal("NaN"))
        assert [it.code for it in added.denials] == [DenialCode.PRICE_INVALID]
        huge = await manager.submit_order(replace(request, quantity=10**26))
        assert DenialCode.QUANTITY_INVALID in {it.code for it in huge.denials}

        name = order.client_order_id
        unchanged: dict[str, Any] = {"quantity": None, "limit_price": None, "stop_price": None}
        refused: list[Callable[[], Awaitable[Any]]] = [
            partial(manager.submit_order, replace(request, client_order_id=""))
        ]
        refused += [
            partial(manager.submit_order, replace(request, client_order_id=text))
            for text in ("a b", "x" * 65, "a\n")
        ]
        refused += [
            partial(manager.submit_order, replace(request, strategy_id=text))
            for text in ("", "x" * 65)
        ]
        refused += [
            partial(act, **{"reason": "news", "operator": "Ada"} | said)
            for act in (
                manager.halt,
                manager.resume,
                manager.liquidate,
                partial(manager.close_position, "MES"),
            )
            for said in ({"reason": " "}, {"operator": ""}, {"reason": "x" * 501})
        ]
        names: list[dict[str, Any]] = [
            {"reason": "a\nb"},
            {"operator": "\x1b[2J"},
            {"operator": "x" * 65},
        ]
        refused += [
            partial(manager.change_limits, daily_loss=Decimal(500), **said) for said in names
        ]
        refused += [
            partial(manager.verify_execution, name, expected_quantity=wrong)
            for wrong in (-1, True, QUANTITY_MAX + 1)
        ]
        refused += [
            partial(manager.verify_execution, name, max_slippage_ticks=Decimal(wrong))
            for wrong in ("NaN", "Infinity", "-1", "1E+1000000")
        ]
        refused += [
            partial(manager.verify_execution, name, timeout_s=wrong)
            for wrong in (float("nan"), float("inf"))
        ]
        exact: list[tuple[Callable[..., Awaitable[Any]], str]] = [
            (manager.change_limits, "daily_loss"),
            (manager.change_limits, "trailing_loss"),
            (manager.change_limits, "max_position"),
            (partial(manager.modify_order, name, **unchanged), "limit_price"),
            (partial(manager.modify_order, name, **unchanged), "stop_price"),
            (partial(manager.change_leg, 1), "price"),
            (partial(manager.protect_position, "MES"), "stop_price"),
            (partial(manager.protect_position, "MES"), "take_profit_price"),
        ]
        refused += [
            partial(act, **{number: wrong}) for act, number in exact for wrong in (1.5, "5", True)
        ]
        refused += [manager.change_limits]  # names no limit
        recovery = manager.disaster_recovery
        waits: list[Callable[..., Awaitable[Any]]] = [
            recovery.initialize_recovery_system,
            recovery.recover_from_crash,
            partial(recovery.emergency_liquidation, reason="news", operator="Ada"),
            manager.execution_verification.initialize_verification_system,
            manager.correlation_protection.initialize_correlation_monitor,
            DisasterRecoverySystem().initialize_recovery_system,  # starts no guard of its own
        ]
        refused += [
            partial(wait, timeout_s=wrong)
            for wait in waits
            for wrong in (float("nan"), float("inf"), Decimal("NaN"), "5", None, True)
        ]
        for call in refused:
            with pytest.raises(DomainError):
                await call()
        assert guard.book.liquidations == {}
        with pytest.raises(DomainError, match="bytes on record"):
            manager.save_strategy("momentum", {"bars": "x" * WISH_BYTES_MAX})
        with pytest.raises(DomainError, match="strategy_id"):
            manager.save_strategy("", {"bars": 1})

        assert guard.book.trading_state(manager.now_ns()) is TradingState.ACTIVE
        assert guard.position() == 2


async def test_a_whole_number_is_an_exact_amount_and_an_exact_price(desk: Desk) -> None:
    async with desk.guard(MAX_DAILY_LOSS=1_000) as guard:
        manager = guard.manager
        order = await guard.send(guard.request(Side.BUY, 1, OrderType.LIMIT, ticks=-200))
        ticks = order.intent.limit_ticks
        assert ticks is not None
        price = int(guard.instrument("MES").price(ticks)) - 1

        changed = await manager.change_limits(daily_loss=500, max_position=2)
        moved = await manager.modify_order(
            order.client_order_id, quantity=None, limit_price=price, stop_price=None
        )
        huge = await manager.change_limits(daily_loss=10**6000)

        assert [changed.kind, moved.kind] == [DecisionKind.ACCEPTED, DecisionKind.ACCEPTED]
        assert guard.book.account_limits is not None
        assert guard.book.account_limits.daily_loss_micros == 500_000_000
        assert huge.kind is DecisionKind.NOT_POSSIBLE
        assert len(huge.message) < 200
