"""Which markets are heard on when there are more contracts than a guard can hear."""

from collections.abc import Iterable

import pytest
from tests.core.builders import MES, Guard, a_policy, a_position, a_row, an_instrument

from backstop.adapters.clock import SystemClock
from backstop.app import contract_watch
from backstop.app.contract_watch import ContractSource, ContractWatch, is_wanted
from backstop.domain.events import Fact, InstrumentsLoaded, OrderReported, PositionReported, Source
from backstop.domain.instrument import Instrument
from backstop.domain.order import OrderType
from backstop.errors import GatewayError

OLD, UNTRADED = "CON.F.US.MES.U26", "CON.F.US.MGC.Z26"


def after_a_roll() -> Guard:
    """Return a guard that heard of the month before, and of a symbol that nobody trades here."""
    guard = Guard(a_policy(symbols=("MES", "NQ"))).start()
    others = (
        an_instrument(contract_id=OLD, active=False),
        an_instrument(contract_id=UNTRADED, symbol="MGC"),
    )
    guard.feed(InstrumentsLoaded(utc_us=guard.utc_us, instruments=others))
    return guard


def test_the_month_that_is_traded_is_wanted_and_the_one_before_is_not() -> None:
    book = after_a_roll().book

    wanted = [it for it in (MES, OLD, UNTRADED, "CON.F.US.NEVER.Z26") if is_wanted(book, it)]

    assert wanted == [MES]


def test_what_is_held_or_ordered_is_wanted_whatever_its_month() -> None:
    guard = after_a_roll()
    row = a_row(contract_id=UNTRADED, type=OrderType.STOP)
    guard.feed(OrderReported(utc_us=guard.utc_us, order=row, source=Source.HUB))
    held = a_position(1, contract_id=OLD)
    guard.feed(PositionReported(utc_us=guard.utc_us, position=held, source=Source.HUB))

    assert is_wanted(guard.book, OLD)
    assert is_wanted(guard.book, UNTRADED)


class NothingListed:
    """A gateway that lists nothing any more."""

    async def instruments(self) -> tuple[Instrument, ...]:
        return ()

    async def instrument(self, contract_id: str) -> Instrument | None:
        raise AssertionError(contract_id)


async def test_a_market_is_joined_each_time_that_its_contract_is_held_again() -> None:
    guard, joined, faults = after_a_roll(), list[str](), list[str]()
    refusals = [GatewayError("there is no room")]

    async def hear(contract_ids: Iterable[str]) -> None:
        if refusals:
            raise refusals.pop()
        joined.extend(contract_ids)

    watch = ContractWatch(
        NothingListed(),
        book=guard.book,
        clock=SystemClock(),
        sink=lambda fact: _fed(guard, fact),
        hear=hear,
        on_fault=faults.append,
    )
    for quantity in (1, 2, 0, 1):
        position = a_position(quantity, contract_id=OLD)
        guard.feed(PositionReported(utc_us=guard.utc_us, position=position, source=Source.HUB))
        await watch.look()

    assert joined == [OLD, OLD], "once it could be, and again after it was flat"
    assert "there is no room" in faults


async def test_a_list_that_could_not_be_read_is_read_again_and_the_fault_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(contract_watch, "LIST_S", 0.0)
    monkeypatch.setattr(contract_watch, "ASK_AGAIN_S", 0.0)
    faults = list[str]()
    refusals = [GatewayError("no list now")]

    class Unsteady(NothingListed):
        async def instruments(self) -> tuple[Instrument, ...]:
            if refusals:
                raise refusals.pop()
            return ()

        async def instrument(self, contract_id: str) -> Instrument | None:
            return dict[str, Instrument]().get(contract_id)

    guard = after_a_roll()
    row = a_row(contract_id="CON.F.US.NEVER.Z26", type=OrderType.STOP)
    guard.feed(OrderReported(utc_us=guard.utc_us, order=row, source=Source.HUB))
    watch = _watch(Unsteady(), guard, faults)
    for _ in range(2):
        await watch.look()

    unknown = "the gateway knows no contract CON.F.US.NEVER.Z26, and the account has it"
    assert faults == [f"{unknown}; no list now", unknown], "each goes when its own cause is over"


def _watch(source: ContractSource, guard: Guard, faults: list[str]) -> ContractWatch:
    async def hear(_: Iterable[str]) -> None:
        """Join whatever it is."""

    return ContractWatch(
        source,
        book=guard.book,
        clock=SystemClock(),
        sink=lambda fact: _fed(guard, fact),
        hear=hear,
        on_fault=faults.append,
    )


def _fed(guard: Guard, fact: Fact) -> None:
    guard.feed(fact)
