"""Where orders are asked for: judged, sent, followed, changed and cancelled.

A wish carries the market that its decision is based on, so that a replay decides alike.
"""

import asyncio
from contextlib import suppress
from decimal import Decimal

from msgspec.structs import replace

from backstop.adapters.projectx.rate_budget import RateBudget
from backstop.app.codec import recordable
from backstop.app.kill_file import KillFile
from backstop.app.loop import DecisionLoop
from backstop.app.order_records import OrderRecords
from backstop.app.protection_desk import ProtectionDesk
from backstop.app.quote_board import QuoteBoard
from backstop.app.undecided_wishes import UndecidedWishes
from backstop.app.watchers import Wanted
from backstop.app.wish_checks import check_names, checked_price
from backstop.core.execution_verification import REPLY_LIMIT_NS
from backstop.core.guardrails import Assessment
from backstop.core.order_month import instrument_of_order
from backstop.core.order_numbers import tickless_faults
from backstop.core.policy import SECOND_NS
from backstop.core.pre_trade import judge
from backstop.core.step import Decision, DecisionKind
from backstop.core.tracked_order import TrackedOrder
from backstop.domain.bot import BotLimits
from backstop.domain.events import (
    Answer,
    CancelRequested,
    LegChangeRequested,
    ModifyRequested,
    OrderRegistered,
    OrderRequested,
)
from backstop.domain.instrument import Rounding
from backstop.domain.order import OrderRequest, OrderState, Side
from backstop.domain.quote import Quote
from backstop.errors import JournalError
from backstop.ports import Clock

ANSWER_LIMIT_S = 2 * REPLY_LIMIT_NS / SECOND_NS
"""How long a caller is kept waiting for the venue; its silence is UNKNOWN well before that."""


class OrderDesk:
    """Asks the decision loop on behalf of bots."""

    def __init__(
        self,
        loop: DecisionLoop,
        *,
        quotes: QuoteBoard,
        clock: Clock,
        budget: RateBudget,
        records: OrderRecords,
        protection: ProtectionDesk,
        kill_file: KillFile,
    ) -> None:
        """Serve the guard of ``loop``; ``budget`` says how many calls are left for entries."""
        self._kill_file = kill_file
        self._loop = loop
        self._quotes = quotes
        self._clock = clock
        self._budget = budget
        self._records = records
        self._protection = protection
        self._undecided = UndecidedWishes(loop.book)

    def validate(self, request: OrderRequest) -> Assessment | None:
        """Judge an order by what is known now; None when no contract goes by its symbol.

        Raises:
            DomainError: a member of the request is not what its type says.
        """
        wish = recordable(self._wish(request))
        check_names(wish.request)
        return judge(self._loop.book, wish, now_ns=self._clock.monotonic_ns())

    async def what_if(self, request: OrderRequest) -> Assessment | None:
        """Judge an order as ``submit`` would now, after its look at the kill file; errors likewise.

        Nothing is done but what the file demands.
        """
        if await self._kill_file.look():
            await self._loop.caught_up()
        return self.validate(request)

    async def submit(self, request: OrderRequest) -> Decision:
        """Ask for an order; an accepted one is returned when the venue answered, or did not.

        Raises:
            DomainError: a member of the request is not what its type says, or a name that no order
                can go by; nothing was sent.
            GuardBusyError: too many wishes wait for a decision; this one was refused.
            JournalError: the intent could not be made durable; nothing was sent.
        """
        request = recordable(request)
        check_names(request)
        decision = await self.decide(request)
        if decision.kind is not DecisionKind.ACCEPTED or decision.order is None:
            return decision
        order = await self.until(decision.order, _is_answered, limit_s=ANSWER_LIMIT_S)
        return replace(decision, order=order)

    async def decide(
        self, request: OrderRequest, *, bot_limits: BotLimits | None = None
    ) -> Decision:
        """Ask for an order; returned when the decision is on disk and the request may leave.

        ``bot_limits`` is what the bot that asks may enter; None: anything that the rules allow.
        Errors as of ``submit``.
        """
        request = recordable(request)
        with self._undecided.order(request):
            await self._protection.decidable(request)
            await self._kill_file.look()
            return await self._loop.decide(self._wish(request, bot_limits=bot_limits))

    async def until(self, order: TrackedOrder, wanted: Wanted, *, limit_s: float) -> TrackedOrder:
        """Return an order as it is on record, as soon as it is ``wanted`` so.

        After ``limit_s``, and when the guard stops meanwhile, it is returned as it stands then.
        """
        name = order.client_order_id
        # The book runs ahead of the record: what it shows by now may be told when it is written,
        # what comes later with the step that brings it, and no later.
        if not wanted(self._loop.book.orders.get(name, order)):
            with suppress(TimeoutError, JournalError):
                async with asyncio.timeout(limit_s):
                    return await self._loop.order_changed(name, wanted)
        await self._loop.recorded()
        return await self._records.named(name) or order

    async def traded(self, contract_id: str) -> None:
        """Wait, for moments, until no order of ours trades in a contract: all of it is known."""
        await self._protection.traded(contract_id)

    async def register(
        self, request: OrderRequest, *, custom_tag: str | None, broker_order_id: int | None
    ) -> Decision:
        """Follow an order that the bot sends itself, and never send it.

        Raises:
            DomainError: a member of the request is not what its type says.
            JournalError: it is not on disk: do not send an entry.
        """
        request = recordable(request)
        check_names(request)
        with self._undecided.change():
            return await self._loop.decide(
                OrderRegistered(
                    utc_us=self._clock.utc_us(),
                    request=request,
                    custom_tag=custom_tag,
                    broker_order_id=broker_order_id,
                    reference=self._reference(request),
                    marks=self._quotes.marks(),
                )
            )

    async def cancel(self, client_order_id: str, *, reason: str) -> Decision:
        """Ask the venue to cancel an order, and again until it is over or the venue says no."""
        with self._undecided.change():
            return await self._loop.decide(
                CancelRequested(
                    utc_us=self._clock.utc_us(), client_order_id=client_order_id, reason=reason
                )
            )

    async def modify(
        self,
        client_order_id: str,
        *,
        quantity: int | None,
        limit_price: Decimal | int | None,
        stop_price: Decimal | int | None,
    ) -> Decision:
        """Ask for a change of an order; returned when the venue answered, or did not.

        Prices go to the tick as for a new order. What the venue refuses is not possible, in its
        words.

        Raises:
            DomainError: a price is no exact number.
        """
        decision = await self.decide_change(
            client_order_id,
            quantity=quantity,
            limit_price=limit_price,
            stop_price=stop_price,
        )
        if decision.kind is not DecisionKind.ACCEPTED or decision.order is None:
            return decision
        order = await self.until(decision.order, _is_change_answered, limit_s=ANSWER_LIMIT_S)
        change = order.change
        if change is None or not change.is_refused:
            return replace(decision, order=order)
        who = "the venue refused the change" if change.answer is Answer.NO else "nothing was sent"
        why = f"{who}: {change.message or 'no reason given'}. The order is as it was"
        return Decision(kind=DecisionKind.NOT_POSSIBLE, order=order, message=why)

    async def decide_change(
        self,
        client_order_id: str,
        *,
        quantity: int | None,
        limit_price: Decimal | int | None,
        stop_price: Decimal | int | None,
        bot_limits: BotLimits | None = None,
    ) -> Decision:
        """Ask for a change of an order; returned when the request may leave; errors likewise."""
        limit_price = checked_price("limit_price", limit_price)
        stop_price = checked_price("stop_price", stop_price)
        await self._kill_file.look()
        book = self._loop.book
        order = book.orders.get(client_order_id)
        limit_ticks = stop_ticks = reference = None
        if order is not None:
            instrument = book.instruments[order.intent.contract_id]
            reference = self._quotes.reference(instrument.contract_id)
            asked = {"limit_price": limit_price, "stop_price": stop_price}
            faults = tickless_faults(asked, instrument)
            if faults:
                return Decision(kind=DecisionKind.REFUSED, order=order, denials=faults)
            buying = order.intent.side is Side.BUY
            passive = Rounding.DOWN if buying else Rounding.UP
            away = Rounding.UP if buying else Rounding.DOWN
            if limit_price is not None:
                limit_ticks = instrument.rounded_ticks(limit_price, passive)
            if stop_price is not None:
                stop_ticks = instrument.rounded_ticks(stop_price, away)
        with self._undecided.change():
            return await self._loop.decide(
                ModifyRequested(
                    utc_us=self._clock.utc_us(),
                    client_order_id=client_order_id,
                    quantity=quantity,
                    limit_ticks=limit_ticks,
                    stop_ticks=stop_ticks,
                    reference=reference,
                    marks=self._quotes.marks(),
                    spare_calls=self._budget.left(),
                    bot_limits=bot_limits,
                )
            )

    async def change_leg(self, broker_order_id: int, *, price: Decimal | int | None) -> Decision:
        """Ask the venue to move a leg of a bracket to ``price``, or with None to cancel it.

        Between two ticks it goes to the one towards the market for a stop, and to the one that is
        no worse for a target: the same direction for both.

        Raises:
            DomainError: the price is no exact number.
        """
        price = checked_price("price", price)
        book, ticks = self._loop.book, None
        leg = book.venue_orders.get(broker_order_id)
        instrument = None if leg is None else book.instruments.get(leg.row.contract_id)
        if price is not None and leg is not None and instrument is not None:
            faults = tickless_faults({"price": price}, instrument)
            if faults:
                return Decision(kind=DecisionKind.REFUSED, denials=faults)
            rounding = Rounding.UP if leg.row.side is Side.SELL else Rounding.DOWN
            ticks = instrument.rounded_ticks(price, rounding)
        with self._undecided.change():
            return await self._loop.decide(
                LegChangeRequested(
                    utc_us=self._clock.utc_us(), broker_order_id=broker_order_id, ticks=ticks
                )
            )

    def _wish(
        self, request: OrderRequest, *, bot_limits: BotLimits | None = None
    ) -> OrderRequested:
        """Return the wish for an order with the market that its decision is based on."""
        return OrderRequested(
            utc_us=self._clock.utc_us(),
            request=request,
            reference=self._reference(request),
            marks=self._quotes.marks(),
            spare_calls=self._budget.left(),
            bot_limits=bot_limits,
        )

    def _reference(self, request: OrderRequest) -> Quote | None:
        """Return the market of the contract that an order is about, as far as it is known now."""
        instrument = instrument_of_order(self._loop.book, request)
        return None if instrument is None else self._quotes.reference(instrument.contract_id)


def _is_answered(order: TrackedOrder) -> bool:
    """Say whether the venue answered for an order, or its silence became UNKNOWN."""
    return order.state not in {OrderState.INTENDED, OrderState.SENT}


def _is_change_answered(order: TrackedOrder) -> bool:
    """Say whether the venue answered every change that was asked for, or its silence is known."""
    return order.is_terminal or order.change is None or not order.change.unanswered
