"""A bot that falls silent: entries stop, exits and stops stay, and at last its share is closed."""

from decimal import Decimal

import pytest
from tests.core.builders import MES, NQ, Guard, a_guard_start, a_policy, a_position, replayed

from backstop.core.bot_record import BOTS_MAX
from backstop.core.state_checkpoint import captured, decoded, encoded, restored
from backstop.core.step import DecisionKind, Step
from backstop.domain.bot import BotPolicy, BotState, BotTerms
from backstop.domain.broker import BrokerStatus
from backstop.domain.commands import CancelOrder, ClosePosition, PlaceOrder, RaiseAlert
from backstop.domain.denial import DenialCode
from backstop.domain.events import (
    Answer,
    BotFellSilent,
    BotGivenUp,
    BotRegistered,
    BotReturned,
    BotSignedOff,
    CloseRequested,
    ModifyRequested,
    PositionCloseAnswered,
)
from backstop.domain.order import OrderType, Side

LADDER = list(BotPolicy)


def register(
    guard: Guard, bot_id: str = "alpha", policy: BotPolicy = BotPolicy.FLATTEN
) -> DecisionKind:
    flattens = policy is BotPolicy.FLATTEN
    terms = BotTerms(
        policy=policy,
        heartbeat_timeout_ms=5_000,
        flatten_after_ms=30_000 if flattens else None,
    )
    result = guard.feed(BotRegistered(utc_us=guard.utc_us, bot_id=bot_id, terms=terms))
    assert result.decision is not None
    return result.decision.kind


def fall_silent(guard: Guard, bot_id: str = "alpha") -> Step:
    return guard.feed(BotFellSilent(utc_us=guard.utc_us, bot_id=bot_id, silent_ms=5_000))


def give_up(guard: Guard, bot_id: str = "alpha") -> Step:
    return guard.feed(BotGivenUp(utc_us=guard.utc_us, bot_id=bot_id, silent_ms=30_000))


def bought(
    guard: Guard, quantity: int = 2, *, by: str = "alpha", number: int = 100, held: int = 0
) -> None:
    """Have ``by`` buy MES at the market and get it; ``held`` contracts were there before."""
    guard.working(number, client_order_id=f"{by}-{number}", quantity=quantity, strategy_id=by)
    guard.row(broker_order_id=number, quantity=quantity, status=BrokerStatus.FILLED)
    guard.trade(trade_id=number, broker_order_id=number, quantity=quantity)
    guard.position_row(held + quantity)


def closes(guard: Guard) -> list[tuple[str, int | None]]:
    return [(it.contract_id, it.quantity) for it in guard.commands_of(ClosePosition)]


def codes(guard: Guard, **changes: object) -> list[DenialCode]:
    decision = guard.submit(client_order_id=f"try-{guard.now_ns}", strategy_id="alpha", **changes)
    return [denial.code for denial in decision.denials]


def a_guard(policy: BotPolicy = BotPolicy.FLATTEN) -> Guard:
    guard = Guard().start()
    register(guard, policy=policy)
    return guard


# -- entries -------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", LADDER)
def test_entries_of_a_silent_bot_are_refused_until_it_returns(policy: BotPolicy) -> None:
    guard = a_guard(policy)
    assert codes(guard) == []

    fall_silent(guard)
    assert codes(guard, quantity=3) == [DenialCode.BOT_SILENT]

    guard.feed(BotReturned(utc_us=guard.utc_us, bot_id="alpha"))
    assert codes(guard, quantity=4) == []


def test_entries_of_others_pass_while_a_bot_is_silent() -> None:
    guard = a_guard()
    fall_silent(guard)

    assert guard.submit(strategy_id="beta").kind is DecisionKind.ACCEPTED
    assert guard.submit(client_order_id="c2", quantity=1).kind is DecisionKind.ACCEPTED


@pytest.mark.parametrize("policy", LADDER)
def test_exits_of_a_silent_bot_pass(policy: BotPolicy) -> None:
    guard = a_guard(policy)
    bought(guard)
    fall_silent(guard)

    decision = guard.submit(client_order_id="out", side=Side.SELL, strategy_id="alpha")

    assert decision.kind is DecisionKind.ACCEPTED
    assert [it.client_order_id for it in guard.commands_of(PlaceOrder)][-1] == "out"


@pytest.mark.parametrize(
    ("policy", "cancels"),
    [
        (BotPolicy.KEEP_PROTECTION, []),
        (BotPolicy.STOP_ENTRIES, [100]),
        (BotPolicy.FLATTEN, [100]),
    ],
)
def test_working_entries_of_a_silent_bot_go_as_its_policy_says(
    policy: BotPolicy, cancels: list[int]
) -> None:
    guard = a_guard(policy)
    resting = {"type": OrderType.LIMIT, "limit_price": Decimal(4990)}
    guard.working(100, strategy_id="alpha", **resting)
    guard.working(101, client_order_id="c2", strategy_id="beta", quantity=1, **resting)

    fall_silent(guard)

    assert [it.broker_order_id for it in guard.commands_of(CancelOrder)] == cancels


def test_a_working_exit_of_a_silent_bot_stays() -> None:
    guard = a_guard(BotPolicy.STOP_ENTRIES)
    bought(guard)
    guard.target()

    fall_silent(guard)

    assert guard.commands_of(CancelOrder) == []


def test_a_silent_bot_cannot_move_its_entry_either() -> None:
    guard = a_guard(BotPolicy.KEEP_PROTECTION)
    guard.working(100, strategy_id="alpha", type=OrderType.LIMIT, limit_price=Decimal(4990))
    fall_silent(guard)

    decision = guard.feed(
        ModifyRequested(utc_us=guard.utc_us, client_order_id="c1", limit_ticks=4_991 * 4)
    ).decision

    assert decision is not None
    assert DenialCode.BOT_SILENT in [denial.code for denial in decision.denials]


# -- the share of a bot --------------------------------------------------------------------------


def test_a_bot_that_stays_silent_has_its_position_closed() -> None:
    guard = a_guard()
    bought(guard)
    fall_silent(guard)
    assert closes(guard) == []

    give_up(guard)

    assert closes(guard) == [(MES, None)]
    assert guard.book.latches == ()


@pytest.mark.parametrize("policy", [BotPolicy.KEEP_PROTECTION, BotPolicy.STOP_ENTRIES])
def test_without_that_policy_nothing_is_closed(policy: BotPolicy) -> None:
    guard = a_guard(policy)
    bought(guard)
    fall_silent(guard)
    guard.timer(after_ms=900_000)

    assert closes(guard) == []


def test_only_its_share_of_a_position_is_closed() -> None:
    guard = a_guard()
    bought(guard, 2)
    bought(guard, 1, by="beta", number=101, held=2)
    fall_silent(guard)
    give_up(guard)

    assert closes(guard) == [(MES, 2)]


def test_what_nobody_traded_here_is_not_its_share() -> None:
    guard = Guard().start()
    guard.trade(broker_order_id=900, quantity=3)
    guard.position_row(3)
    register(guard)
    fall_silent(guard)
    give_up(guard)

    assert closes(guard) == []


def test_what_a_bot_held_before_the_position_was_flat_is_over() -> None:
    guard = a_guard()
    bought(guard, 2)
    guard.trade(trade_id=200, broker_order_id=900, quantity=2, side=Side.SELL)
    guard.position_row(0)
    bought(guard, 1, by="beta", number=300)
    fall_silent(guard)
    give_up(guard)

    assert closes(guard) == []


def test_a_share_against_the_position_is_not_closed() -> None:
    """To close what alpha holds against beta would enlarge the position of the account."""
    guard = a_guard()
    bought(guard, 3, by="beta", number=100)
    guard.submit(client_order_id="short", side=Side.SELL, quantity=1, strategy_id="alpha")
    guard.dispatch("short")
    guard.trade(trade_id=101, broker_order_id=101, quantity=1, side=Side.SELL)
    guard.position_row(2)
    fall_silent(guard)
    give_up(guard)

    assert closes(guard) == []


def test_no_more_than_the_position_is_closed() -> None:
    guard = a_guard()
    bought(guard, 3)
    guard.trade(trade_id=200, broker_order_id=900, quantity=2, side=Side.SELL)
    guard.position_row(1)
    fall_silent(guard)
    give_up(guard)

    assert closes(guard) == [(MES, None)]
    assert "+1 of +1 MES" in alert_of(guard, "BOT_GIVEN_UP").message


def test_what_fills_after_it_was_given_up_is_closed_as_well() -> None:
    guard = a_guard()
    guard.working(100, strategy_id="alpha", type=OrderType.LIMIT, limit_price=Decimal(4990))
    fall_silent(guard)
    give_up(guard)
    assert closes(guard) == []

    guard.trade(broker_order_id=100, quantity=2)

    assert closes(guard) == [(MES, None)]


def test_a_close_that_waits_for_another_one_is_not_forgotten() -> None:
    guard = a_guard()
    bought(guard, 2)
    bought(guard, 2, by="beta", number=101, held=2)
    guard.feed(
        CloseRequested(
            utc_us=guard.utc_us, contract_id=MES, quantity=1, reason="trim", operator="ann"
        )
    )
    fall_silent(guard)
    give_up(guard)
    assert closes(guard) == [(MES, 1)]

    guard.feed(
        PositionCloseAnswered(utc_us=guard.utc_us, contract_id=MES, answer=Answer.YES), after_ms=50
    )
    guard.trade(trade_id=200, broker_order_id=900, quantity=1, side=Side.SELL)
    guard.position_row(3)
    for _ in range(6):
        guard.audit(after_ms=1_500, positions=(a_position(3),))

    assert closes(guard) == [(MES, 1), (MES, 2)]


def test_while_the_account_is_read_nothing_is_closed_and_then_it_is() -> None:
    guard = a_guard()
    bought(guard)
    fall_silent(guard)
    guard.connect()
    give_up(guard)
    assert (closes(guard), guard.book.liquidations) == ([], {})

    guard.audit(positions=(a_position(2),))
    assert closes(guard) == [(MES, None)]


def test_a_closed_gate_sends_nothing_and_says_so() -> None:
    guard = a_guard()
    bought(guard)
    guard.book.policy = a_policy(dry_run=True)
    fall_silent(guard)
    give_up(guard)

    assert closes(guard) == []
    assert "would have closed +2 of +2 MES" in alert_of(guard, "BOT_GIVEN_UP").message


# -- the way back --------------------------------------------------------------------------------


def test_a_bot_that_was_given_up_has_to_register_again() -> None:
    guard = a_guard()
    fall_silent(guard)
    give_up(guard)
    guard.feed(BotReturned(utc_us=guard.utc_us, bot_id="alpha"))
    assert guard.book.bots["alpha"].state is BotState.GIVEN_UP
    assert codes(guard) == [DenialCode.BOT_SILENT]

    register(guard)
    assert codes(guard, quantity=3) == []


def test_a_bot_that_signs_off_is_looked_after_no_more() -> None:
    guard = a_guard()
    bought(guard)
    guard.feed(BotSignedOff(utc_us=guard.utc_us, bot_id="alpha"))
    fall_silent(guard)
    give_up(guard)

    assert closes(guard) == []
    assert "BOT_SILENT" not in guard.alerts()
    again = guard.feed(BotSignedOff(utc_us=guard.utc_us, bot_id="alpha")).decision
    assert again is not None
    assert again.kind is DecisionKind.UNKNOWN_BOT


def test_there_is_room_for_so_many_bots_and_known_ones_may_always_come_again() -> None:
    guard = Guard().start()
    for number in range(BOTS_MAX):
        assert register(guard, f"bot-{number}") is DecisionKind.ACCEPTED

    assert register(guard, "one-more") is DecisionKind.NOT_POSSIBLE
    assert register(guard, "bot-0") is DecisionKind.ACCEPTED
    assert len(guard.book.bots) == BOTS_MAX


def test_a_bot_stays_silent_over_a_start_of_the_guard() -> None:
    guard = a_guard()
    fall_silent(guard)
    guard.feed(a_guard_start(utc_us=guard.utc_us))

    assert guard.book.bots["alpha"].state is BotState.SILENT


# -- what a person hears -------------------------------------------------------------------------


def alert_of(guard: Guard, code: str) -> RaiseAlert:
    (alert,) = [it for it in guard.commands_of(RaiseAlert) if it.code == code]
    assert isinstance(alert, RaiseAlert)
    return alert


def test_a_person_hears_of_the_silence_once_and_what_is_open() -> None:
    guard = a_guard()
    bought(guard)
    fall_silent(guard)
    fall_silent(guard)

    alert = alert_of(guard, "BOT_SILENT")
    assert str(alert.severity) == "CRITICAL"
    assert "with +2 MES and 0 live orders" in alert.message
    assert "after 30 s of silence" in alert.message


def test_silence_of_a_bot_with_nothing_open_is_no_emergency() -> None:
    guard = a_guard()
    fall_silent(guard)

    assert str(alert_of(guard, "BOT_SILENT").severity) == "WARNING"


def test_a_replay_leads_to_the_same_bots() -> None:
    guard = a_guard()
    bought(guard)
    register(guard, "beta", BotPolicy.KEEP_PROTECTION)
    fall_silent(guard)
    give_up(guard)
    guard.row(broker_order_id=777, contract_id=NQ, status=BrokerStatus.OPEN, quantity=1)

    book, steps = replayed(guard.policy, guard.history)

    assert book.bots == guard.book.bots
    assert restored(decoded(encoded(captured(book)))).bots == book.bots
    assert [it.commands for it in steps] == [it.commands for it in guard.steps]
