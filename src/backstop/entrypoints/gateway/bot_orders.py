"""Orders of bots behind the gateway: placed and changed through the whole guard.

A bot's ``customTag`` is the client order id of its order, so the record keeps it and the guard
itself sees to it that one tag is one order, for ever. The broker's id is the only id that a bot
hears of. While nobody knows what became of a request, no answer says that it is known.
"""

import asyncio
import uuid
from decimal import Decimal
from typing import Protocol

from backstop.adapters.projectx.wire import TAG_IN_USE, ModifyBody, PlaceBody
from backstop.adapters.projectx_server.venue import Outcome
from backstop.app.order_desk import OrderDesk
from backstop.app.order_records import OrderRecords
from backstop.app.quote_board import QuoteBoard
from backstop.core.book import Book
from backstop.core.entry_gate import gate_denial
from backstop.core.step import Decision, DecisionKind
from backstop.core.tracked_order import TrackedOrder
from backstop.domain.bot import BotLimits
from backstop.domain.denial import Denial, DenialCode
from backstop.domain.events import (
    Answer,
    CancelAnswered,
    ModifyAnswered,
)
from backstop.domain.order import OrderRequest, OrderState, OrderType
from backstop.entrypoints.gateway.ownership import Addressed, addressed
from backstop.entrypoints.gateway.place_request import order_request, tag_fault
from backstop.entrypoints.gateway.refusals import (
    ChangeCode,
    PlaceCode,
    denial_text,
    no,
    not_recorded,
    refused,
    refused_place,
)
from backstop.entrypoints.gateway.shown import UNTAGGED_PREFIX
from backstop.entrypoints.gateway.venue_answers import (
    CHANGE_WAIT_S,
    ChangeAnswer,
    VenueAnswers,
    within,
)
from backstop.errors import DomainError, JournalError

PLACE_WAIT_S = 20.0
"""How long a bot is kept waiting for the fate of its order, then it hears that it is not known.
Most clients wait 30 s for an answer; the broker's silence is UNKNOWN after 8 s, and a search for
the order that succeeds at once tells it after 10 s more."""

TRAILS_BY_ITSELF = (
    "a trailing stop is not moved by hand, because nobody shows how far from the market it would "
    "stand: place another stop, and the guard takes this one away as soon as that one works"
)
REASON_WAIT_S = 1.0
"""How long a rejection that the venue's stream told first waits for the answer that says why."""

NOT_SENT = "NOT_SENT"
"""What the answer to a change begins with that did not leave this machine."""

_UNDECIDED = frozenset({OrderState.INTENDED, OrderState.SENT, OrderState.UNKNOWN})


class OrderGuard(Protocol):
    """What orders of bots need of a guard; ``CriticalSystemManager`` is one.

    Attributes:
        quotes: what it hears of the market.
    """

    quotes: QuoteBoard

    @property
    def book(self) -> Book:
        """Everything the guard knows."""

    @property
    def order_records(self) -> OrderRecords:
        """Orders by their names, also finished ones that the book has let go of."""

    def now_ns(self) -> int:
        """Return monotonic time as the book counts it."""

    @property
    def order_desk(self) -> OrderDesk:
        """Where orders are asked for, changed and followed."""

    async def cancel_order(self, client_order_id: str, *, reason: str) -> Decision:
        """Ask the venue to cancel an order."""

    async def change_leg(self, broker_order_id: int, *, price: Decimal | None) -> Decision:
        """Ask the venue to move a leg of a bracket, or with None to cancel it."""


class BotOrders:
    """What one bot may do to orders."""

    def __init__(
        self,
        guard: OrderGuard,
        bot: str,
        limits: BotLimits,
        *,
        answers: VenueAnswers,
    ) -> None:
        self._guard = guard
        self._bot = bot
        self._limits = limits
        self._answers = answers

    # -- place -----------------------------------------------------------------------------------

    async def place(self, body: PlaceBody) -> Outcome:
        """Have the guard judge, record and send an order, and answer as the broker would.

        Success and rejection come when the broker's word is known. Otherwise the answer after
        ``PLACE_WAIT_S`` is "pending", which no client takes for a no.
        """
        tag, book = body.custom_tag or None, self._guard.book
        fault = None if tag is None else tag_fault(tag)
        if fault is not None:
            return fault
        name = tag or UNTAGGED_PREFIX + uuid.uuid4().hex
        known = book.orders.get(name)
        if known is not None:
            return await self._repeated(known)
        if body.contract_id not in book.instruments:
            return self._unknown_contract(body.contract_id)
        quote = self._guard.quotes.reference(body.contract_id)
        request = order_request(body, name, bot=self._bot, quote=quote)
        if isinstance(request, Outcome):
            return request
        try:
            return await self._submitted(request)
        except JournalError as error:
            return not_recorded(PlaceCode.REJECTED, error)
        except DomainError as error:
            return no(PlaceCode.REJECTED, DenialCode.ORDER_NOT_SUPPORTED, str(error))

    async def _submitted(self, request: OrderRequest) -> Outcome:
        decision = await self._guard.order_desk.decide(request, bot_limits=self._limits)
        order = decision.order
        match decision.kind:
            case DecisionKind.ACCEPTED if order is not None:
                return await self._answered(order)
            case DecisionKind.REPEATED | DecisionKind.CONFLICT if order is not None:
                return await self._repeated(order)
            case DecisionKind.REFUSED:
                return refused_place(decision.denials)
            case _:
                return refused(PlaceCode.REJECTED, decision)

    async def _answered(self, order: TrackedOrder) -> Outcome:
        order = await self._decided(order)
        match order.state:
            case OrderState.REJECTED:
                code = order.venue_code or PlaceCode.REJECTED
                return Outcome(
                    code=code,
                    message=order.venue_message or None,
                    order_id=order.broker_order_id,
                )
            case OrderState.NOT_SUBMITTED:
                message = f"the order is proven never to have arrived. {order.venue_message}"
                return Outcome(code=PlaceCode.REJECTED, message=f"NOT_SUBMITTED: {message}".strip())
            case state if state in _UNDECIDED:
                return _undecided(order)
            case _:
                return Outcome(order_id=order.broker_order_id)

    async def _repeated(self, order: TrackedOrder) -> Outcome:
        """Answer a second order under one tag: it is never sent, whatever became of the first."""
        if order.state in _UNDECIDED:
            order = await self._decided(order)
        if order.state in _UNDECIDED:
            return _undecided(order)
        if order.state is OrderState.NOT_SUBMITTED:
            # To say more would make a client search for an order that there is not.
            return Outcome(
                code=PlaceCode.REJECTED,
                message=f"{TAG_IN_USE}. Its order never reached the venue: use another tag.",
            )
        return Outcome(code=PlaceCode.REJECTED, message=TAG_IN_USE)

    async def _decided(self, order: TrackedOrder) -> TrackedOrder:
        """Return the order once its fate is known, or as it stands when that takes too long."""
        desk = self._guard.order_desk
        order = await desk.until(order, _is_decided, limit_s=PLACE_WAIT_S)
        if order.state is OrderState.REJECTED and not _has_reason(order):
            order = await desk.until(order, _has_reason, limit_s=REASON_WAIT_S)
        return order

    def _unknown_contract(self, contract_id: str) -> Outcome:
        book = self._guard.book
        if book.instruments:
            return Outcome(
                code=PlaceCode.CONTRACT_NOT_FOUND, message=f"no contract goes by {contract_id}"
            )
        why = "; ".join(book.state_reasons(self._guard.now_ns()))
        return no(PlaceCode.REJECTED, DenialCode.STATE_STARTING, f"no new exposure yet: {why}")

    # -- changes of orders -----------------------------------------------------------------------

    async def cancel(self, order_id: int) -> Outcome:
        """Have an order of the bot cancelled, or a leg of one."""
        found = await addressed(self._guard, order_id)
        refusal = self._unchangeable(found, order_id)
        if refusal is not None or found is None:
            return refusal or Outcome(code=ChangeCode.ORDER_NOT_FOUND)
        with self._answers.expected(CancelAnswered, order_id) as answer:
            try:
                decision = await (
                    self._guard.change_leg(order_id, price=None)
                    if found.client_order_id is None
                    else self._guard.cancel_order(
                        found.client_order_id, reason=f"bot {self._bot} asked"
                    )
                )
            except JournalError as error:
                return not_recorded(ChangeCode.REJECTED, error)
            return _repeated_cancel(await self._changed(decision, answer))

    async def modify(self, body: ModifyBody) -> Outcome:
        """Have an order of the bot changed, or a leg of one moved."""
        order_id = body.order_id
        found = await addressed(self._guard, order_id)
        refusal = self._unchangeable(found, order_id)
        if refusal is not None or found is None:
            return refusal or Outcome(code=ChangeCode.ORDER_NOT_FOUND)
        level = body.trail_price if body.stop_price is None else body.stop_price
        if found.type is OrderType.TRAILING_STOP and level is not None:
            return no(ChangeCode.REJECTED, DenialCode.ORDER_NOT_SUPPORTED, TRAILS_BY_ITSELF)
        with self._answers.expected(ModifyAnswered, order_id) as answer:
            try:
                if found.client_order_id is None:
                    decision = await self._moved_leg(found, body)
                else:
                    decision = await self._modified(found.client_order_id, found.type, body)
            except JournalError as error:
                return not_recorded(ChangeCode.REJECTED, error)
            return await self._changed(decision, answer)

    async def _modified(self, name: str, type_: OrderType | None, body: ModifyBody) -> Decision:
        """Change an order; a size that it has already is no wish."""
        order = self._guard.book.orders.get(name)
        held = None if order is None or order.venue is None else order.venue.quantity
        return await self._guard.order_desk.decide_change(
            name,
            quantity=None if body.size == held else body.size,
            limit_price=body.limit_price if type_ is OrderType.LIMIT else None,
            stop_price=body.stop_price if type_ is OrderType.STOP else None,
            bot_limits=self._limits,
        )

    async def _moved_leg(self, leg: Addressed, body: ModifyBody) -> Decision:
        price = body.limit_price if leg.type is OrderType.LIMIT else body.stop_price
        if price is None or body.size not in {None, leg.quantity}:
            denial = Denial(
                code=DenialCode.ORDER_NOT_SUPPORTED,
                message="a leg can be moved; its size follows the position",
            )
            return Decision(kind=DecisionKind.REFUSED, denials=(denial,))
        return await self._guard.change_leg(body.order_id, price=price)

    async def _changed(self, decision: Decision, answer: asyncio.Future[ChangeAnswer]) -> Outcome:
        match decision.kind:
            case DecisionKind.ACCEPTED:
                told = await within(answer, CHANGE_WAIT_S)
            case DecisionKind.UNKNOWN_ORDER:
                return refused(ChangeCode.ORDER_NOT_FOUND, decision)
            case _:
                gate = gate_denial(self._guard.book.policy)
                if gate is not None:
                    return Outcome(code=ChangeCode.REJECTED, message=denial_text((gate,)))
                return refused(ChangeCode.REJECTED, decision)
        match None if told is None else told.answer:
            case Answer.YES:
                return Outcome()
            case Answer.NO if told is not None:
                return Outcome(code=told.code or ChangeCode.REJECTED, message=told.message or None)
            case Answer.NOT_SENT if told is not None:
                return Outcome(
                    code=ChangeCode.REJECTED, message=f"{NOT_SENT}: {told.message}; nothing changed"
                )
            case _:
                return Outcome(
                    code=ChangeCode.PENDING,
                    message="UNKNOWN: the venue did not answer; read the order before you ask "
                    "again",
                )

    def _unchangeable(self, found: Addressed | None, order_id: int) -> Outcome | None:
        """Return why this bot cannot touch an order; None when it can."""
        if found is None:
            return Outcome(code=ChangeCode.ORDER_NOT_FOUND)
        if found.owner != self._bot:
            return no(
                ChangeCode.REJECTED,
                DenialCode.ORDER_OF_ANOTHER,
                f"{order_id} is {found.whose}; closing the position is possible",
            )
        if not found.is_live:
            return Outcome(code=ChangeCode.REJECTED, message="the order is finished already")
        return None


def _repeated_cancel(outcome: Outcome) -> Outcome:
    """Return the answer to a cancel: where it is not known what came of it, the guard asks on."""
    unsent = (outcome.message or "").startswith(NOT_SENT)
    if outcome.code != ChangeCode.PENDING and not unsent:
        return outcome
    return Outcome(
        code=ChangeCode.PENDING,
        message="UNKNOWN: the venue did not answer; the guard asks again until the order is over "
        "or the venue says no: read the order",
    )


def _is_decided(order: TrackedOrder) -> bool:
    return order.state not in _UNDECIDED


def _has_reason(order: TrackedOrder) -> bool:
    return bool(order.venue_code or order.venue_message)


def _undecided(order: TrackedOrder) -> Outcome:
    return Outcome(
        code=PlaceCode.PENDING,
        message=f"{order.state}: the venue did not answer, so the order may be live. Do not send "
        "it again: the guard looks for it. The same customTag never makes a second order",
        order_id=order.broker_order_id,
    )
