"""A guarded account with rules, for tests: half-turns with results, prices, and trading days."""

from decimal import Decimal
from typing import Any

from msgspec.structs import replace
from tests.core.builders import ACCOUNT, MES, Guard, a_policy, a_quote, a_request

from backstop.core.account_rules.limits import AccountLimits
from backstop.core.account_rules.standing import Standing, standing
from backstop.core.step import Decision, Step
from backstop.domain.broker import BrokerAccount
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.events import (
    AccountHistoryRead,
    AccountReported,
    LimitsChangeRequested,
    OrderRequested,
    PositionsPriced,
    ResumeRequested,
    Source,
    TradedDay,
    TradingDayBegan,
)
from backstop.domain.order import Side
from backstop.domain.quote import Mark

DOLLAR = 1_000_000
DAY, NEXT_DAY = "2026-09-21", "2026-09-22"
FIFTY = 50_000 * DOLLAR


def limits(**changes: Any) -> AccountLimits:
    """Return the rules of a 50K account; what is not named is not limited."""
    return AccountLimits(**({"starting_balance_micros": FIFTY} | changes))


def a_guard(rules: AccountLimits, *, balance: int = FIFTY, **policy: Any) -> Guard:
    """Return a guard whose account was read and whose day has begun."""
    members = {"account_limits": rules, "archives": True} | policy
    guard = Guard(policy=a_policy(**members))
    guard.connect()
    tell_balance(guard, balance)
    day(guard, DAY)
    guard.audit()
    return guard


def day(guard: Guard, trade_date: str) -> Step:
    return guard.feed(
        TradingDayBegan(
            utc_us=guard.utc_us,
            trade_date=trade_date,
            began_utc_us=guard.utc_us,
            ends_utc_us=guard.utc_us + 23 * 3600 * 1_000_000,
        )
    )


def tell_balance(guard: Guard, balance_micros: int, *, can_trade: bool = True) -> Step:
    account = BrokerAccount(
        account_id=ACCOUNT,
        name="50K",
        balance_micros=balance_micros,
        can_trade=can_trade,
        simulated=True,
    )
    return guard.feed(AccountReported(utc_us=guard.utc_us, account=account, source=Source.HUB))


def history(guard: Guard, balance: int, *nets: tuple[str, int], today: str = DAY) -> Step:
    return guard.feed(
        AccountHistoryRead(
            utc_us=guard.utc_us,
            trade_date=today,
            balance_micros=balance,
            days=tuple(TradedDay(trade_date=date, net_micros=net) for date, net in nets),
        )
    )


def trade(guard: Guard, trade_id: int, **changes: Any) -> Step:
    members = {
        "trade_id": trade_id,
        "broker_order_id": 5000 + trade_id,
        "created_utc_us": guard.utc_us,
        "fees_micros": 0,
    }
    return guard.trade(**(members | changes))


def buy(guard: Guard, trade_id: int, quantity: int, price: int, **changes: Any) -> None:
    """Let a fill of a position, and the row that tells of it, arrive."""
    trade(guard, trade_id, quantity=quantity, price=Decimal(price), **changes)
    side = changes.get("side", Side.BUY)
    held = guard.position()
    guard.position_row(held, average_price=Decimal(price))
    assert held * side.sign > 0


def result(guard: Guard, trade_id: int, net: int, *, fees: int = 0, **changes: Any) -> Step:
    """Let a round trip have brought ``net`` dollars before ``fees`` dollars."""
    trade(guard, trade_id, side=Side.BUY)
    return trade(
        guard,
        trade_id + 1,
        side=Side.SELL,
        profit_and_loss_micros=net * DOLLAR,
        fees_micros=fees * DOLLAR,
        **changes,
    )


def price(guard: Guard, points: str | int, **changes: Any) -> Step:
    """Let the market of MES be told at ``points``."""
    mark = Mark(contract_id=MES, price=Decimal(points))
    return guard.feed(PositionsPriced(utc_us=guard.utc_us, marks=(replace(mark, **changes),)))


def wish(guard: Guard, last: str | int = 5000, *, age_ms: int = 0, **request: Any) -> Decision:
    """Ask for an order while the market of MES is at ``last``."""
    quote = a_quote(bid=Decimal(last) - Decimal("0.25"), ask=Decimal(last), last=Decimal(last))
    decided = guard.feed(
        OrderRequested(
            utc_us=guard.utc_us,
            request=a_request(**request),
            reference=quote,
            marks=(Mark(contract_id=MES, price=Decimal(last), age_ms=age_ms),),
        )
    )
    assert decided.decision is not None
    return decided.decision


def denial(decision: Decision, code: DenialCode) -> Denial:
    (found,) = [it for it in decision.denials if it.code is code]
    return found


def codes(decision: Decision) -> list[DenialCode]:
    return [it.code for it in decision.denials]


def change(guard: Guard, *, operator: str = "", reason: str = "", **wanted: int) -> Decision:
    event = LimitsChangeRequested(utc_us=guard.utc_us, operator=operator, reason=reason, **wanted)
    decided = guard.feed(event).decision
    assert decided is not None
    return decided


def resume(guard: Guard) -> Decision:
    event = ResumeRequested(utc_us=guard.utc_us, reason="looked at it", operator="ann")
    decided = guard.feed(event).decision
    assert decided is not None
    return decided


def now(guard: Guard) -> Standing:
    rules = guard.book.account_limits
    assert rules is not None
    return standing(guard.book, rules)


def quiet(guard: Guard, balance: int | None = None, **parts: Any) -> None:
    """Let the venue tell the balance, and two complete reads show that nothing moves."""
    if balance is not None:
        tell_balance(guard, balance)
    for _ in range(2):
        guard.audit(after_ms=5_000, **parts)
