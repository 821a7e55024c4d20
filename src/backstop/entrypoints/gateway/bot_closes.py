"""Closes that bots ask for: of any position of the account, whoever opened it."""

from typing import Protocol

from backstop.adapters.projectx_server.venue import Outcome
from backstop.app.order_desk import OrderDesk
from backstop.core.book import Book
from backstop.core.fills_to_come import held_by_any_word
from backstop.core.step import Decision, DecisionKind
from backstop.domain.events import Answer, CloseRefusal, PositionCloseAnswered
from backstop.entrypoints.gateway.refusals import (
    CloseCode,
    PartialCloseCode,
    not_recorded,
    refused,
)
from backstop.entrypoints.gateway.venue_answers import (
    CHANGE_WAIT_S,
    ChangeAnswer,
    VenueAnswers,
    within,
)
from backstop.errors import JournalError


class CloseGuard(Protocol):
    """What closes need of a guard; ``CriticalSystemManager`` is one."""

    @property
    def book(self) -> Book:
        """Everything the guard knows."""

    @property
    def order_desk(self) -> OrderDesk:
        """Where it is known which orders trade just now."""

    async def close_position(
        self, symbol: str, *, quantity: int | None, reason: str, operator: str
    ) -> Decision:
        """Close a position, or a part of it."""


class BotCloses:
    """What one bot may do to positions."""

    def __init__(self, guard: CloseGuard, bot: str, *, answers: VenueAnswers) -> None:
        self._guard = guard
        self._bot = bot
        self._answers = answers

    async def close(self, contract_id: str) -> Outcome:
        """Have the whole position of a contract closed, whoever opened it."""
        codes = _CloseCodes(
            rejected=CloseCode.REJECTED, pending=CloseCode.PENDING, size=CloseCode.REJECTED
        )
        return await self._closed(contract_id, None, codes)

    async def partial_close(self, contract_id: str, size: int) -> Outcome:
        """Have ``size`` contracts of a position closed."""
        codes = _CloseCodes(
            rejected=PartialCloseCode.REJECTED,
            pending=PartialCloseCode.PENDING,
            size=PartialCloseCode.INVALID_SIZE,
        )
        return await self._closed(contract_id, size, codes)

    async def _closed(self, contract_id: str, size: int | None, codes: "_CloseCodes") -> Outcome:
        book = self._guard.book
        if contract_id not in book.instruments and contract_id not in book.positions:
            return Outcome(code=CloseCode.CONTRACT_NOT_FOUND)
        view = book.position(contract_id)
        if (size or 1) > abs(held_by_any_word(book, view)):
            # An entry that was answered just now may have filled, and nobody have said so yet.
            await self._guard.order_desk.traded(contract_id)
            view = book.position(contract_id)
        held = held_by_any_word(book, view)
        if not held and view.is_settled:
            return Outcome(code=CloseCode.POSITION_NOT_FOUND)
        if size is not None and not 0 < size <= abs(held):
            return Outcome(code=codes.size)
        under_way = book.closes.get(contract_id)
        is_filling = under_way is not None and under_way.may_be_filling
        with self._answers.expected(PositionCloseAnswered, contract_id) as answer:
            try:
                decision = await self._guard.close_position(
                    contract_id,
                    quantity=size,
                    reason=f"bot {self._bot} asked",
                    operator=f"bot {self._bot}",
                )
            except JournalError as error:
                return not_recorded(codes.rejected, error)
            if decision.kind is not DecisionKind.ACCEPTED:
                return refused(codes.rejected, decision)
            if decision.liquidation_id is None:
                return Outcome(code=CloseCode.POSITION_NOT_FOUND)
            if is_filling:
                return Outcome()  # somebody's close is under way, and takes all of it
            return _close_outcome(await within(answer, CHANGE_WAIT_S), codes)


class _CloseCodes:
    """The numbers that the two close calls do not share."""

    def __init__(self, *, rejected: int, pending: int, size: int) -> None:
        self.rejected, self.pending, self.size = rejected, pending, size


def _close_outcome(told: ChangeAnswer | None, codes: _CloseCodes) -> Outcome:
    if not isinstance(told, PositionCloseAnswered):
        return _close_pending(codes)
    match told.answer, told.refusal:
        case Answer.YES, _:
            return Outcome()
        case Answer.NO, CloseRefusal.NO_POSITION:
            return Outcome(code=CloseCode.POSITION_NOT_FOUND, message=told.message or None)
        case Answer.NO, CloseRefusal.ENDED:
            return Outcome(code=CloseCode.CONTRACT_NOT_ACTIVE, message=told.message or None)
        case Answer.NO, CloseRefusal.SIZE:
            return Outcome(code=codes.size, message=told.message or None)
        case Answer.NO, _:
            return Outcome(code=codes.rejected, message=told.message or None)
        case _:
            return _close_pending(codes)


def _close_pending(codes: _CloseCodes) -> Outcome:
    return Outcome(
        code=codes.pending,
        message="UNKNOWN: the venue did not answer yet; the guard goes on until the position is "
        "closed. Read it before you ask again",
    )
