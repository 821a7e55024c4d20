"""What situations are made of, beyond a desk: silence, outages, and looks at the record."""

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from typing import Any

from tests.app.desk import Desk, Guard, JumpingClock, audited, until

from backstop.core.portfolio import holdings
from backstop.core.tracked_order import TrackedOrder
from backstop.domain.denial import DenialCode
from backstop.domain.order import OrderState, Side
from backstop.simulator.fault_rules import FaultKind

USER_EVENTS = ("GatewayUserOrder", "GatewayUserTrade", "GatewayUserPosition")
ORDER_LISTS = ("Order/search", "Order/searchOpen", "Order/v2/query")
STOP_TYPES = {"STOP", "TRAILING_STOP"}
EXPOSURE_LIMIT = 10_000
"""Dollars of ES and NQ together: low enough that ``room`` is a number of contracts."""

FRESH_MS = 5_000
"""Younger than any quote from before ``later`` let time pass."""


def silence(desk: Desk) -> None:
    """Have the user hub stay connected and tell nothing."""
    for event in USER_EVENTS:
        desk.mischief(event, FaultKind.DROP_EVENT, count=None, name="silence")


def cut_off(desk: Desk) -> None:
    """Have every call and every connection broken from now on, until ``restored``."""
    desk.mischief("any_call", FaultKind.RESET_BEFORE, count=None, name="outage")
    desk.mischief("now", FaultKind.HUB_RESET)


def restored(desk: Desk, name: str = "outage") -> None:
    """Take back the faults of one name."""
    faults = desk.venue.faults
    faults.take_back([active for active in faults.rules if active.rule.name == name])


def struck(desk: Desk, act: FaultKind, *on: str) -> int:
    """Return how often a kind of fault has struck the calls or events ``on``."""
    return sum(it.act is act and it.on in on for it in desk.venue.faults.applied)


def states_of(order: TrackedOrder) -> list[OrderState]:
    return [order.transitions[0].from_state, *(step.to_state for step in order.transitions)]


# -- the exchange's truth ------------------------------------------------------------------------


def stop_legs(desk: Desk) -> int:
    """Return the contracts that working stop legs at the exchange would close."""
    return sum(
        row["size"] - row["fillVolume"]
        for row in desk.truth()["orders"]
        if row["accountId"] == desk.account
        and row["type"] in STOP_TYPES
        and row["status"] == "OPEN"
    )


def working(desk: Desk) -> list[Any]:
    """Return every order of the account that works at the exchange, legs included."""
    return [
        row
        for row in desk.truth()["orders"]
        if row["accountId"] == desk.account and row["status"] == "OPEN"
    ]


def cover(desk: Desk) -> int:
    """Return the contracts of the net position that working stops would close."""
    side = "ASK" if net(desk) > 0 else "BID"
    return sum(
        row["size"] - row["fillVolume"]
        for row in working(desk)
        if row["type"] in STOP_TYPES and row["side"] == side
    )


def levels(desk: Desk) -> list[Decimal]:
    """Return the levels of the working stops, lowest first."""
    rows = desk.venue.exchange.open_orders(desk.account)
    return sorted(row.stop_price for row in rows if row.stop_price is not None)


async def protected(desk: Desk, position: int) -> None:
    """Wait until the exchange holds ``position`` and stops for exactly that."""
    await until(
        lambda: (net(desk), cover(desk)) == (position, abs(position)),
        lambda: f"{position} covered: {desk.truth()['positions']}, {working(desk)}",
    )


async def flat(desk: Desk) -> None:
    """Wait until the exchange holds neither a position nor a working order."""
    await until(
        lambda: net(desk) == 0 and not working(desk), lambda: f"{net(desk)}, {working(desk)}"
    )


def quote_at(desk: Desk, contract_id: str, price: Decimal, *, size: int = 500) -> None:
    """Let the market trade at one price for a moment."""
    desk.venue.exchange.on_quote(contract_id, price, price, size, size, price, size, 0)


def trades(desk: Desk) -> list[Any]:
    return [row for row in desk.truth()["trades"] if row["accountId"] == desk.account]


def net(desk: Desk) -> int:
    """Return the net contracts that the exchange says the account holds."""
    return sum(
        row["quantity"] for row in desk.truth()["positions"] if row["accountId"] == desk.account
    )


# -- the record, as another process reads it -----------------------------------------------------


def recorded(desk: Desk, kind: str) -> list[Any]:
    """Return every fact or command of one kind, oldest first."""
    rows = audited(
        desk.folder / "state",
        "SELECT CAST(payload AS TEXT) FROM Journal"
        " WHERE json_extract(CAST(payload AS TEXT), '$.kind') = ? ORDER BY seq",
        kind,
    )
    return [json.loads(payload) for (payload,) in rows]


@contextmanager
def slow_disk(desk: Desk, *, held_s: float) -> Iterator[None]:
    """Hold the record's write lock, again and again: each commit waits up to ``held_s``."""
    over = threading.Event()

    def hold() -> None:
        path = desk.folder / "state" / "audit.db"
        with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as database:
            while not over.is_set():
                database.execute("BEGIN IMMEDIATE")
                over.wait(held_s)
                database.execute("COMMIT")
                over.wait(0.15)  # long enough for whoever waits to get its turn

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


# -- what the guard says -------------------------------------------------------------------------


def room(guard: Guard, side: Side = Side.BUY) -> int:
    """Return how many MES more the exposure limits would let through."""
    assessment = guard.manager.validate_order(guard.request(side, 50))
    assert assessment is not None
    (most,) = [
        denial.max_quantity
        for denial in assessment.denials
        if denial.code is DenialCode.ES_NQ_COMBINED_EXPOSURE
    ]
    assert most is not None
    return most


def worst_case(guard: Guard, side: Side, symbol: str = "MES") -> int:
    """Return the signed contracts that the guard counts with at the worst on one side."""
    marks = guard.manager.quotes.marks()
    held = [it for it in holdings(guard.book, marks) if it.symbol == symbol]
    if side is Side.BUY:
        return sum(max(0, it.filled) + it.pending_buys for it in held)
    return sum(min(0, it.filled) - it.pending_sells for it in held)


def unexplained(guard: Guard) -> list[str]:
    """Return what keeps the guard from being sure: doubts about positions, and adjustments."""
    doubts = [str(view) for view in guard.book.positions.values() if not view.is_settled]
    adjusted = guard.book.counters.adjustments
    return [*doubts, f"{adjusted} adjustments"] if adjusted else doubts


def alerts(guard: Guard) -> list[str]:
    """Return the codes of everything that a person was told of."""
    return [alert.code for alert in guard.book.alerts.alerts.values()]


def later(guard: Guard, clock: JumpingClock, seconds: float) -> None:
    """Let time pass at once, and have the guard look at its deadlines."""
    clock.jump(seconds)
    # Any fact wakes the loop, which then sees what is due.
    guard.manager.save_strategy("clock", {"now_ns": clock.monotonic_ns()})


async def searched(guard: Guard, client_order_id: str, clock: JumpingClock, *, times: int) -> None:
    """Let time pass until an order was searched ``times`` more often, or its fate is known."""

    def order() -> TrackedOrder:
        return guard.book.orders[client_order_id]

    for _ in range(times):
        before = order().attempts
        later(guard, clock, 11)  # longer than any pause between two searches
        await until(lambda seen=before: order().attempts > seen or order().is_terminal, order)  # type: ignore[misc]


async def searched_in_vain(guard: Guard, clock: JumpingClock, *, times: int) -> None:
    """Let time pass until each order of unknown fate was searched ``times`` more often.

    A read that fails is repeated until its deadline, so time goes on while it is under way.
    """
    wanted = {it.client_order_id: it.attempts + times for it in guard.book.live_orders()}

    def done() -> bool:
        later(guard, clock, 11)
        return all(guard.book.orders[name].attempts >= least for name, least in wanted.items())

    await until(done, lambda: guard.book.orders)


async def quoted_now(guard: Guard, symbol: str = "MES") -> None:
    """Wait for a price that is not from before time was let pass."""
    contract_id = guard.instrument(symbol).contract_id

    def fresh() -> bool:
        quote = guard.manager.quotes.reference(contract_id)
        return quote is not None and quote.age_ms < FRESH_MS

    await guard.ready(symbol)
    await until(fresh, f"a fresh quote of {symbol}")
