"""Correlation protection as a bot calls it, in front of a real venue; its own truth decides."""

import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from tests.app.desk import Desk, Guard, until
from tests.app.own_bot import an_own_bot

import backstop
from backstop.app.correlation_protection_system import CorrelationProtectionSystem
from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.core.exposure import LimitName
from backstop.core.exposure_book import LIMIT_CHECKS
from backstop.core.step import DecisionKind
from backstop.core.trading_state import TradingState
from backstop.domain.denial import DenialCode
from backstop.domain.order import OrderType, Side
from backstop.errors import DomainError, GatewayUnreachableError, SettingError, SetupError

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT = Decimal(12_000)
"""Dollars of ES and NQ together: some MES at the stress volatility, for there is no history."""


@asynccontextmanager
async def alone(
    desk: Desk, **settings: Any
) -> AsyncIterator[tuple[CorrelationProtectionSystem, Guard]]:
    """Run the system without a guard of somebody else; it sends nothing."""
    defaults = {"DRY_RUN": True, "EXECUTE": False, "ES_NQ_MAX_COMBINED_EXPOSURE": LIMIT}
    system = CorrelationProtectionSystem(desk.settings(**(defaults | settings)))
    await system.initialize_correlation_monitor()
    async with system:
        guard = Guard(system.guard, desk.venue, [], desk.names)
        await guard.ready("MES", "MNQ")
        yield system, guard


async def test_it_has_the_four_operations_of_the_specification_and_a_public_name() -> None:
    operations = [
        name
        for name, _ in inspect.getmembers(CorrelationProtectionSystem, inspect.iscoroutinefunction)
        if not name.startswith("_")
    ]

    assert operations == [
        "calculate_correlated_exposure",
        "initialize_correlation_monitor",
        "update_exposure",
        "validate_new_position",
    ]
    assert backstop.CorrelationProtectionSystem is CorrelationProtectionSystem
    assert inspect.iscoroutinefunction(CriticalSystemManager.update_exposure)


async def test_nothing_works_before_it_is_initialized(desk: Desk) -> None:
    system = CorrelationProtectionSystem(desk.settings())

    with pytest.raises(SetupError, match="initialize_correlation_monitor"):
        await system.validate_new_position("MES", Side.BUY, 1)
    with pytest.raises(SettingError, match="CORRELATION_PROTECTION_ENABLE"):
        await CorrelationProtectionSystem(
            desk.settings(CORRELATION_PROTECTION_ENABLE=0)
        ).initialize_correlation_monitor()


async def test_a_bot_with_orders_of_its_own_asks_first_and_goes_on_when_it_is_counted(
    desk: Desk,
) -> None:
    async with alone(desk) as (system, guard), an_own_bot(desk) as bot:
        most = (await system.validate_new_position("MES", Side.BUY, 1000)).max_quantity
        assert most > 2
        assert (await system.validate_new_position("MES", Side.BUY, most)).allowed
        beyond = await system.validate_new_position("MES", Side.BUY, most + 1)
        assert not beyond.allowed
        (denial,) = [it for it in beyond.denials if it.code is DenialCode.ES_NQ_COMBINED_EXPOSURE]
        assert denial.max_quantity == most == beyond.max_quantity
        assert denial.limit == "12000.00"

        await bot.place(guard.request(quantity=2, protected=False), tag=None)
        shown = await system.update_exposure("MES", 2, timeout_s=30)

        (root,) = [it for it in shown.roots if it.symbol == "MES"]
        assert (root.quantity, root.worst_long, root.worst_short) == (2, 2, 0)
        again = await system.validate_new_position("MES", Side.BUY, 1000)
        assert again.max_quantity == most - 2
        assert (await system.validate_new_position("MES", Side.SELL, 2)).allowed
        es = await system.calculate_correlated_exposure("MES")
        assert es.family == "ES"
        assert es.filled_micros == es.value_micros > 0
        (of_both,) = [it for it in es.readings if it.limit is LimitName.ES_NQ_COMBINED]
        assert of_both.value_micros == es.value_micros
        assert of_both.headroom_micros == int(LIMIT) * 1_000_000 - es.value_micros
        nq = await system.calculate_correlated_exposure("MNQ")
        assert (nq.family, nq.value_micros) == ("NQ", 0)


async def test_what_the_broker_does_not_show_is_not_counted_on_anybodys_word(desk: Desk) -> None:
    async with alone(desk) as (system, _):
        with pytest.raises(GatewayUnreachableError, match=r"\+0 .* and not the \+3"):
            await system.update_exposure("MES", 3, timeout_s=0.5)

        flat = await system.update_exposure("MES", 0)
        assert flat.roots == ()


@pytest.mark.parametrize("quantity", [0, -1, 1.5, True, "2", float("nan")])
async def test_what_is_no_number_of_contracts_is_refused(desk: Desk, quantity: Any) -> None:
    async with alone(desk) as (system, _):
        with pytest.raises(DomainError, match="quantity must be a whole number of contracts, 1 to"):
            await system.validate_new_position("MES", Side.BUY, quantity)
        with pytest.raises(DomainError, match="No contract of the gateway goes by 'XX'"):
            await system.validate_new_position("XX", Side.BUY, 1)
        with pytest.raises(DomainError, match="No contract of the gateway goes by 'XX'"):
            await system.calculate_correlated_exposure("XX")


async def test_as_a_part_of_a_guard_it_sees_what_the_guard_sends(desk: Desk) -> None:
    async with desk.guard("MNQ", ES_NQ_MAX_COMBINED_EXPOSURE=LIMIT) as guard:
        system = guard.manager.correlation_protection
        most = (await system.validate_new_position("MES", Side.BUY, 1000)).max_quantity
        resting = await guard.send(guard.request(Side.BUY, most, OrderType.LIMIT, ticks=-400))

        full = await system.validate_new_position("MES", Side.BUY, 1)
        refused = await guard.manager.submit_order(guard.request(Side.BUY, 1))

        assert (full.allowed, full.max_quantity) == (False, 0)
        assert refused.kind is DecisionKind.REFUSED
        # The same limit says the same; what the order would come to moves with the market.
        assert [(it.code, it.limit, it.max_quantity) for it in refused.denials] == [
            (it.code, it.limit, it.max_quantity) for it in full.denials
        ]
        await guard.manager.cancel_order(resting.client_order_id, reason="room for others")
        await until(lambda: not guard.book.live, "the cancelled order")
        assert (await guard.manager.update_exposure("MES", 0)).roots == ()
        assert (await system.validate_new_position("MES", Side.BUY, most)).allowed


@pytest.mark.parametrize("limit", LimitName)
async def test_a_limit_that_does_not_work_keeps_the_guard_from_being_armed(
    desk: Desk, limit: LimitName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIMIT_CHECKS, limit, lambda _book, _change: None)
    async with desk.guard(ready=False) as guard:
        await guard.manager.account_read()
        await until(
            lambda: (
                guard.book.trading_state(guard.manager.now_ns()) is TradingState.REDUCING
                and guard.book.state_reasons(guard.manager.now_ns()) == ("LIMIT_BROKEN",)
            ),
            lambda: guard.book.state_reasons(guard.manager.now_ns()),
        )
        await guard.quoted("MES")

        decision = await guard.manager.submit_order(guard.request())

        assert decision.kind is DecisionKind.REFUSED
        assert decision.denials[0].code is DenialCode.STATE_REDUCING
        assert desk.orders() == []
