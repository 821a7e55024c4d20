"""After a stop: what is different from what the book says, and what is done about it.

``recovery_plan`` compares the book as the last process left it with the account as it was read,
puts each difference into one of nine classes with the evidence for it, and says what follows. The
acts are not invented here: they are what the core itself does with that book and that account,
tried out on a copy (``recovery_rehearsal``).
"""

from collections.abc import Iterator
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from backstop.core.book import Book, VenueOrder
from backstop.core.left_alone import alone_ms
from backstop.core.recovery_rehearsal import AccountPicture, Act, PlannedAct, acts_on
from backstop.core.tracked_order import TrackedOrder
from backstop.domain.broker import BrokerOrder, BrokerStatus, BrokerTrade
from backstop.domain.events import StopKind
from backstop.domain.order import TAG_PREFIX, OrderType, Side


class Difference(StrEnum):
    """How the account can differ from the book."""

    CLOSED_WHILE_AWAY = "CLOSED_WHILE_AWAY"
    """A position is gone: its stop, its target or a person closed it."""
    SIZE_CHANGED = "SIZE_CHANGED"
    """A position has another size."""
    UNKNOWN_POSITION = "UNKNOWN_POSITION"
    """A position that no order of ours explains."""
    UNKNOWN_ORDER = "UNKNOWN_ORDER"
    """A working order that is neither ours nor a leg of ours."""
    MISSING_ORDER = "MISSING_ORDER"
    """An order that should work and is in no list of the venue, or a stop or target that somebody
    ended while its position is open."""
    MISSING_FILLS = "MISSING_FILLS"
    """Trades that we had not heard of."""
    FORCED_LIQUIDATION = "FORCED_LIQUIDATION"
    """The firm closed the position and took the right to trade away."""
    CONTRACT_EXPIRED = "CONTRACT_EXPIRED"
    """The contract is not traded any more."""
    WRONG_ACCOUNT = "WRONG_ACCOUNT"
    """The login shows another account than the one that is guarded."""


ACTS = {
    Difference.CLOSED_WHILE_AWAY: "the broker is believed; its trades are booked and legs that are "
    "left are cancelled",
    Difference.SIZE_CHANGED: "the broker is believed; stops are fitted to the new size",
    Difference.UNKNOWN_POSITION: "it is protected, closed or left alone, as "
    "EXTERNAL_POSITION_POLICY says; entries are frozen until a person acknowledges",
    Difference.UNKNOWN_ORDER: "it counts as risk and stays, unless it could flip the position; "
    "nothing is frozen for it alone, only when it fills or is one of several of a program",
    Difference.MISSING_ORDER: "it counts at its worst case and is looked up by its tag until the "
    "venue's own records say how it ended",
    Difference.MISSING_FILLS: "each is booked once, under its order",
    Difference.FORCED_LIQUIDATION: "nothing is sent; entries are refused while the account cannot "
    "trade, and a person is told",
    Difference.CONTRACT_EXPIRED: "what the venue takes no orders for is asked for ever more "
    "rarely; a person is told to look at the account",
    Difference.WRONG_ACCOUNT: "the guard refuses to start; nothing is sent",
}
"""What is done about each, in words."""

TAKEN_AWAY = (
    "the venue's word counts, and a person is told: a stop is put back at its recorded level, and "
    "so is a target that was lost together with its stop"
)
"""What is done where a stop or a target was ended while its position is open."""


class Finding(Struct, frozen=True, kw_only=True):
    """One difference.

    Attributes:
        difference: its class.
        symbol: the exchange's root, or the contract where that is not known; empty: the account.
        contract_id: likewise.
        evidence: what was found, with the numbers of the venue.
        act: what is done about it.
    """

    difference: Difference
    symbol: str
    contract_id: str
    evidence: str
    act: str


class Downtime(Struct, frozen=True, kw_only=True):
    """How the process before ended, and how long nobody guarded; None when nothing tells."""

    stop: StopKind
    ms: int | None = None
    wall_clock: bool = False


class SymbolPlan(Struct, frozen=True, kw_only=True):
    """What is done about one contract.

    Attributes:
        quantity: signed contracts, as the broker says; None when that could not be read.
        before: signed contracts, as the book says.
    """

    symbol: str
    contract_id: str
    quantity: int | None
    before: int
    acts: tuple[PlannedAct, ...]


class RecoveryPlan(Struct, frozen=True, kw_only=True):
    """The whole plan.

    Attributes:
        account_id: the account that is guarded.
        downtime: since nobody guarded it.
        liquidates: the account is taken flat, because it was left alone for too long.
        findings: every difference.
        symbols: every contract that is or was held, or has a working order.
        unread: parts of the account that could not be read: nothing is concluded about them.
    """

    account_id: int
    downtime: Downtime
    liquidates: bool
    findings: tuple[Finding, ...]
    symbols: tuple[SymbolPlan, ...]
    unread: tuple[str, ...]


def recovery_plan(
    before: Book,
    picture: AccountPicture,
    *,
    downtime: Downtime,
    liquidate_after_ms: int | None,
    now_ns: int,
) -> RecoveryPlan:
    """Return what is different, and what follows.

    Args:
        before: the book as the last process left it; it is not changed.
        picture: the account as it was just read.
        downtime: since nobody guarded it.
        liquidate_after_ms: open positions are liquidated after a longer one that was no clean stop;
            None: never.
        now_ns: monotonic time.
    """
    comparison = _Comparison(before, picture)
    findings = tuple(comparison.findings())
    wrong = any(it.difference is Difference.WRONG_ACCOUNT for it in findings)
    held = {row.contract_id: row.quantity for row in picture.positions or () if row.quantity}
    alone = alone_ms(before, downtime.stop, downtime.ms, after_ms=liquidate_after_ms)
    liquidates = bool(alone and held) and not wrong
    acts = {} if wrong else acts_on(before, picture, liquidates=liquidates, now_ns=now_ns)
    none = () if wrong else (PlannedAct(act=Act.NOTHING),)
    contracts = dict.fromkeys(
        (
            *(view.contract_id for view in before.positions.values() if view.quantity),
            *held,
            *(row.contract_id for row in picture.live_orders or ()),
            *acts,
        )
    )
    return RecoveryPlan(
        account_id=before.policy.account_id,
        downtime=downtime,
        liquidates=liquidates,
        findings=findings,
        symbols=tuple(
            SymbolPlan(
                symbol=picture.symbol(contract_id, before),
                contract_id=contract_id,
                quantity=None if picture.positions is None else held.get(contract_id, 0),
                before=before.position(contract_id).quantity,
                acts=acts.get(contract_id, none),
            )
            for contract_id in contracts
        ),
        unread=picture.unread,
    )


class _Comparison:
    """One book against one picture of the account."""

    def __init__(self, before: Book, picture: AccountPicture) -> None:
        self._book = before
        self._picture = picture
        rows = (*(picture.orders or ()), *(picture.live_orders or ()))
        self._rows = {row.broker_order_id: row for row in rows}
        self._new_trades = [trade for trade in picture.trades or () if self._is_new(trade)]

    def findings(self) -> Iterator[Finding]:
        """Yield every difference; of another account nothing else is said."""
        wrong = list(self._wrong_account())
        yield from wrong
        if wrong:
            return
        for contract_id in self._contracts():
            yield from self._position(contract_id)
            yield from self._fills(contract_id)
        if self._picture.live_orders is not None:
            yield from self._unknown_orders()
            if self._picture.orders is not None:
                yield from self._missing_orders()

    def _contracts(self) -> Iterator[str]:
        held = (row.contract_id for row in self._picture.positions or ())
        traded = (trade.contract_id for trade in self._new_trades)
        yield from dict.fromkeys((*self._book.positions, *held, *traded))

    def _finding(
        self, difference: Difference, contract_id: str, evidence: str, act: str = ""
    ) -> Finding:
        return Finding(
            difference=difference,
            symbol=self._picture.symbol(contract_id, self._book) if contract_id else "",
            contract_id=contract_id,
            evidence=evidence,
            act=act or ACTS[difference],
        )

    # -- the account -------------------------------------------------------------------------

    def _wrong_account(self) -> Iterator[Finding]:
        ours = self._book.policy.account_id
        picture = self._picture
        if picture.account is None and picture.other_accounts:
            others = ", ".join(picture.other_accounts)
            evidence = f"the login shows {others}, and not {ours}"
            yield self._finding(Difference.WRONG_ACCOUNT, "", evidence)
            return
        accounts = {row.account_id for row in self._rows.values()}
        accounts |= {row.account_id for row in picture.positions or ()}
        accounts |= {trade.account_id for trade in picture.trades or ()}
        strange = sorted(accounts - {ours})
        if strange:
            evidence = f"rows of account {', '.join(map(str, strange))} came for {ours}"
            yield self._finding(Difference.WRONG_ACCOUNT, "", evidence)

    # -- positions ---------------------------------------------------------------------------

    def _position(self, contract_id: str) -> Iterator[Finding]:
        if self._picture.positions is None:
            return
        row = next((it for it in self._picture.positions if it.contract_id == contract_id), None)
        now = 0 if row is None else row.quantity
        before = self._book.position(contract_id).quantity
        if now == before:
            if now and not self._picture.is_traded(contract_id):
                evidence = f"{now:+d} {contract_id}, which the gateway lists no more"
                yield self._finding(Difference.CONTRACT_EXPIRED, contract_id, evidence)
            return
        trades = [it for it in self._new_trades if it.contract_id == contract_id]
        change = f"{before:+d} before, {now:+d} now"
        told = f"{change}; {_told(trades)}"
        if before == 0:
            if any(not self._is_ours(trade.broker_order_id) for trade in trades) or not trades:
                yield self._finding(Difference.UNKNOWN_POSITION, contract_id, told)
        elif now == 0:
            yield self._finding(self._how_it_closed(contract_id, trades), contract_id, told)
        else:
            yield self._finding(Difference.SIZE_CHANGED, contract_id, told)

    def _how_it_closed(self, contract_id: str, trades: list[BrokerTrade]) -> Difference:
        account = self._picture.account
        closing = [it for it in trades if not self._is_ours(it.broker_order_id)]
        if closing and account is not None and not account.can_trade:
            return Difference.FORCED_LIQUIDATION
        settled = not trades or (closing and self._is_expired(contract_id))
        if settled and not self._picture.is_traded(contract_id):
            return Difference.CONTRACT_EXPIRED
        return Difference.CLOSED_WHILE_AWAY

    def _is_expired(self, contract_id: str) -> bool:
        """Say whether orders of the contract ended because the month did."""
        return any(
            row.contract_id == contract_id and row.status is BrokerStatus.EXPIRED
            for row in self._rows.values()
        )

    # -- trades ------------------------------------------------------------------------------

    def _is_new(self, trade: BrokerTrade) -> bool:
        newest = self._book.forgotten_trade_id
        old = newest is not None and trade.trade_id <= newest
        return not trade.voided and trade.trade_id not in self._book.trades and not old

    def _fills(self, contract_id: str) -> Iterator[Finding]:
        trades = [it for it in self._new_trades if it.contract_id == contract_id]
        if trades:
            yield self._finding(Difference.MISSING_FILLS, contract_id, _told(trades))

    # -- orders ------------------------------------------------------------------------------

    def _is_ours(self, broker_order_id: int) -> bool:
        """Say whether an order, or its entry, was placed by us; a close by hand has no tag."""
        book, row = self._book, self._rows.get(broker_order_id)
        if broker_order_id in book.client_of_broker_id:
            return True
        held = book.venue_orders.get(broker_order_id)
        if held is not None:
            return held.owner is not None
        if row is None:
            return False
        tag = row.custom_tag or ""
        known_tag = tag in book.client_of_tag or tag[:-3] in book.client_of_tag
        of_ours = row.parent_order_id in book.client_of_broker_id
        return known_tag or of_ours or tag.startswith(TAG_PREFIX)

    def _unknown_orders(self) -> Iterator[Finding]:
        for row in self._picture.live_orders or ():
            number = row.broker_order_id
            if number in self._book.venue_orders or self._is_ours(number):
                continue
            yield self._finding(Difference.UNKNOWN_ORDER, row.contract_id, _row_text(row))

    def _missing_orders(self) -> Iterator[Finding]:
        """Yield what should work and does not.

        How an order ended that is in a list, the venue says; but what protects an open position
        should not have.
        """
        for order in self._book.live_orders():
            row = self._row_of(order)
            if row is None:
                yield self._missing(order.intent.contract_id, _order_text(order))
            elif order.role is not None:
                yield from self._taken_away(row)
        for held in self._book.live_venue_orders():
            row = self._rows.get(held.row.broker_order_id)
            if row is None:
                yield self._missing(held.row.contract_id, _row_text(held.row))
            elif self._is_protective(held):
                yield from self._taken_away(row)

    def _missing(self, contract_id: str, what: str) -> Finding:
        return self._finding(Difference.MISSING_ORDER, contract_id, f"{what}; no list has it")

    def _taken_away(self, row: BrokerOrder) -> Iterator[Finding]:
        """Yield a stop or target that ended without a fill although its position is open."""
        number, positions = row.broker_order_id, self._picture.positions or ()
        change = self._book.protection.changes.get(number)
        asked = number in self._book.cancel_asked_ns or (
            change is not None and change.quantity == 0
        )
        ended = not row.status.is_live and row.status is not BrokerStatus.FILLED
        held = sum(it.quantity for it in positions if it.contract_id == row.contract_id)
        if ended and not asked and held * row.side.sign < 0:
            evidence = f"{_row_text(row)}; the position is {held:+d}"
            yield self._finding(Difference.MISSING_ORDER, row.contract_id, evidence, TAKEN_AWAY)

    def _is_protective(self, held: VenueOrder) -> bool:
        """Say whether an order protects: a leg that no other one has filled for, or adopted."""
        if held.owner is None:
            adopted = self._book.protection.record(held.row.contract_id).adopted
            return held.row.broker_order_id in adopted
        legs = (it.row for it in self._book.venue_orders.values() if it.owner == held.owner)
        rows = (self._rows.get(row.broker_order_id, row) for row in legs)
        return not any(row.status is BrokerStatus.FILLED for row in rows)

    def _row_of(self, order: TrackedOrder) -> BrokerOrder | None:
        if order.broker_order_id is not None:
            return self._rows.get(order.broker_order_id)
        tagged = (it for it in self._rows.values() if it.custom_tag == order.custom_tag)
        return next(tagged, None) if order.custom_tag else None


def _told(trades: list[BrokerTrade]) -> str:
    if not trades:
        return "no trade explains it"
    return "; ".join(
        f"trade {it.trade_id}: {_verb(it.side)} {it.quantity} @ {it.price:f} by order "
        f"{it.broker_order_id}"
        for it in sorted(trades, key=lambda trade: trade.trade_id)
    )


def _verb(side: Side) -> str:
    return "bought" if side is Side.BUY else "sold"


def _order_text(order: TrackedOrder) -> str:
    number = order.broker_order_id
    known_as = f"tag {order.custom_tag}" if number is None else f"order {number}"
    return f"{order.client_order_id} ({known_as}) was {order.state}"


def _row_text(row: BrokerOrder) -> str:
    level = row.stop_price if row.type in {OrderType.STOP, OrderType.TRAILING_STOP} else None
    price: Decimal | None = level if level is not None else row.limit_price
    at = "" if price is None else f" @ {price:f}"
    tag = f", tag {row.custom_tag}" if row.custom_tag else ", no tag"
    return (
        f"order {row.broker_order_id}: {row.side} {row.quantity - row.filled_quantity} "
        f"{row.type or 'of another type'}{at}, {row.status}{tag}"
    )
