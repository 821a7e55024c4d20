"""One contract at one moment: how much has to be covered, by what it is, and what is missing."""

from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from backstop.core.awaited_fills import evident_quantity
from backstop.core.book import Book
from backstop.core.liquidation_scope import unfinished
from backstop.core.positions import PositionView
from backstop.core.protection_plan import Cover, Share, lacking, shares, total
from backstop.core.protection_record import ProtectionRecord
from backstop.core.protective_orders import coming, working_stops, working_targets
from backstop.domain.external import ExternalPositionPolicy
from backstop.domain.instrument import Instrument, Rounding
from backstop.domain.order import LegRole


class Protection(StrEnum):
    """How a position stands."""

    PROTECTED = "PROTECTED"
    """Working stops cover it."""
    NAKED = "NAKED"
    """They do not cover all of it; what lacks is being placed, or the position will be closed."""
    UNPROTECTED = "UNPROTECTED"
    """No stop was asked for and no setting gives one: none is invented."""
    CLOSING = "CLOSING"
    """It is being taken flat."""


class Situation(Struct, frozen=True, kw_only=True):
    """What is true of one contract's protection.

    Attributes:
        view: what is believed of the position.
        record: what should protect it.
        instrument: None for a contract that the gateway never listed.
        quantity: contracts that are held, fills that only rows tell of included.
        wanted: contracts that have to be covered; less where others' positions are left alone.
        stops: working stops that close it.
        covered: contracts that those close together.
        coming: our own stops on their way.
        fallback_ticks: level for contracts of unknown origin; None: there is none.
        chosen: contracts of entries that may go without a stop, and were given none.
    """

    view: PositionView
    record: ProtectionRecord
    instrument: Instrument | None
    quantity: int
    wanted: int
    stops: tuple[Cover, ...]
    covered: int
    coming: tuple[Cover, ...]
    fallback_ticks: int | None
    chosen: int

    @property
    def contract_id(self) -> str:
        """The contract."""
        return self.record.contract_id

    @property
    def uncovered(self) -> int:
        """Contracts that no working stop covers and one should."""
        return max(0, self.wanted - self.covered)

    @property
    def is_naked(self) -> bool:
        """Contracts are held that no working stop covers, wanted or not."""
        return self.quantity > self.covered

    @property
    def missing(self) -> tuple[Share, ...]:
        """The stops that have to be placed; a share without a level cannot be."""
        number = lacking(self.wanted, self.stops, self.coming)
        if not number:
            return ()
        return shares(
            number,
            self.record.active_lots,
            (*self.stops, *self.coming),
            fallback_ticks=self.fallback_ticks,
        )

    @property
    def has_level(self) -> bool:
        """Some stop is on record for it, or follows from the settings."""
        return self.fallback_ticks is not None

    @property
    def undetermined(self) -> int:
        """Contracts without a stop of which nothing says where theirs should be."""
        return 0 if self.has_level else max(0, self.quantity - self.covered - self.chosen)

    @property
    def lacking(self) -> int:
        """Contracts about which something is to be done now: no stop, and nobody was told so."""
        told = self.undetermined <= self.record.declared
        return self.uncovered if self.has_level else 0 if told else self.undetermined


def situation(book: Book, contract_id: str) -> Situation:
    """Return what is true of a contract's protection now."""
    record = book.protection.record(contract_id)
    view = book.position(contract_id)
    instrument = book.instruments.get(contract_id)
    quantity = max(0, evident_quantity(book, view) * record.sign)
    stops = working_stops(book, record) if record.sign else ()
    return Situation(
        view=view,
        record=record,
        instrument=instrument,
        quantity=quantity,
        wanted=_wanted(book, record, quantity),
        stops=stops,
        covered=total(stops),
        coming=coming(book, record, LegRole.STOP_LOSS) if record.sign else (),
        fallback_ticks=_fallback_ticks(book, record, view, instrument),
        chosen=_chosen(book, record),
    )


def is_settled(book: Book, now: Situation) -> bool:
    """Say whether all witnesses say the same about what is held, and no fill is awaited."""
    awaited = book.protection.awaited.values()
    return now.view.is_settled and all(it.contract_id != now.contract_id for it in awaited)


def situation_again(book: Book, before: Situation) -> Situation:
    """Return what is true now; ``before`` itself if nothing was done about the contract since.

    Only for looks of one step between which no request was made: the orders are the same then.
    """
    record, view = book.protection.record(before.contract_id), book.position(before.contract_id)
    if record is before.record and view is before.view:
        return before
    return situation(book, before.contract_id)


def _wanted(book: Book, record: ProtectionRecord, quantity: int) -> int:
    """Return how many of ``quantity`` contracts are ours to protect."""
    if book.policy.external_position_policy is not ExternalPositionPolicy.ALERT:
        return quantity
    left_alone = book.policy.leaves_bot_alone
    lots = (it for it in record.active_lots if not (left_alone and it.is_adopted))
    return min(quantity, sum(lot.quantity for lot in lots))


def _chosen(book: Book, record: ProtectionRecord) -> int:
    """Return the contracts whose trader wanted no stop, where he may do so."""
    if book.policy.stop_required:
        return 0
    return sum(lot.quantity for lot in record.active_lots if lot.stop_ticks is None)


def _fallback_ticks(
    book: Book, record: ProtectionRecord, view: PositionView, instrument: Instrument | None
) -> int | None:
    """Return the level for contracts that no lot accounts for.

    What was asked for the whole position, else the level of its newest lot, for a net position
    has no parts; else the default distance from its average price. That level is rounded towards
    the market: the loss may be smaller than the distance, never larger.
    """
    if record.stop_ticks is not None:
        return record.stop_ticks
    for lot in reversed(record.active_lots):
        if lot.stop_ticks is not None:
            return lot.stop_ticks
    policy = book.policy
    protects = policy.external_position_policy is ExternalPositionPolicy.PROTECT
    price = view.average_price or _opening_price(book, record)
    if policy.default_stop_ticks is None or not protects or price is None or instrument is None:
        return None
    rounding = Rounding.UP if record.sign > 0 else Rounding.DOWN
    return instrument.rounded_ticks(price, rounding) - record.sign * policy.default_stop_ticks


def _opening_price(book: Book, record: ProtectionRecord) -> Decimal | None:
    """Return the price of the newest trade that enlarged the position; its row is on the way."""
    trade = book.trades.get(record.newest_trade_id)
    if trade is None or trade.side.sign != record.sign:
        return None
    return trade.price


def protection_of(book: Book, contract_id: str) -> Protection:
    """Return how a position stands, for people."""
    now = situation(book, contract_id)
    if is_being_closed(book, contract_id):
        return Protection.CLOSING
    if not now.is_naked:
        return Protection.PROTECTED
    return Protection.NAKED if now.has_level and now.uncovered else Protection.UNPROTECTED


def is_in_place(book: Book, contract_id: str) -> bool:
    """Say whether everything that was asked for a position stands at the venue."""
    now = situation(book, contract_id)
    record = now.record
    if not record.sign:
        return True
    if any(change.contract_id == contract_id for change in book.protection.changes.values()):
        return False
    if now.uncovered or now.coming or coming(book, record, LegRole.TAKE_PROFIT):
        return False
    return record.target_ticks is None or total(working_targets(book, record)) >= now.quantity


def is_being_closed(book: Book, contract_id: str) -> bool:
    """Say whether a run takes all of a contract flat."""
    return any(run.covers(contract_id) and not run.is_partial for run in unfinished(book))
