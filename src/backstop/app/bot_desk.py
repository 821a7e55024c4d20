"""Where bots register, say that they live, and sign off; and the look at who does not say it."""

import asyncio
from typing import Protocol

from msgspec import Struct

from backstop.app.codec import recordable
from backstop.core.book import Book
from backstop.core.bot_presence import (
    BotPresence,
    BotVerdict,
    begun,
    begun_again,
    heard,
    looked,
)
from backstop.core.bot_record import Bot
from backstop.core.policy import MILLISECOND_NS
from backstop.core.step import Decision, DecisionKind
from backstop.domain.bot import BotTerms
from backstop.domain.events import (
    BotFellSilent,
    BotGivenUp,
    BotRegistered,
    BotReturned,
    BotSignedOff,
    Fact,
)
from backstop.ports import Clock

LOOK_S = 0.25
"""Between two looks: a quarter of the shortest patience that a bot can ask for."""


class Decisions(Protocol):
    """The decision loop, as far as bots concern it."""

    @property
    def book(self) -> Book:
        """Everything the guard knows."""

    def put(self, fact: Fact) -> None:
        """Queue one fact."""

    async def decide(self, fact: Fact) -> Decision:
        """Queue a wish and return its decision once that is durable."""


class BotReport(Struct, frozen=True, kw_only=True):
    """One bot as it stands; ``heartbeat_age_ms`` None: no heartbeat since the guard started."""

    bot: Bot
    heartbeat_age_ms: int | None


class BotDesk:
    """Hears bots; only what follows from their silence goes on record."""

    def __init__(self, decisions: Decisions, *, clock: Clock) -> None:
        self._decisions = decisions
        self._clock = clock
        self._heard: dict[str, BotPresence] = {}

    async def register(self, bot_id: str, terms: BotTerms) -> Decision:
        """Look after ``bot_id`` from now on; the same again is a heartbeat and leaves no record.

        Raises:
            DomainError: a member is not what its type says.
            JournalError: it could not be made durable; nobody looks after the bot.
        """
        known = self._decisions.book.bots.get(bot_id)
        if known is not None and known.terms == terms and known.is_alive:
            self.beat(bot_id)
            return Decision(kind=DecisionKind.REPEATED)
        decision = await self._decisions.decide(
            recordable(BotRegistered(utc_us=self._clock.utc_us(), bot_id=bot_id, terms=terms))
        )
        if decision.kind is DecisionKind.ACCEPTED:
            self._heard[bot_id] = begun(terms, self._clock.monotonic_ns())
        return decision

    def beat(self, bot_id: str, *, progress: int | None = None) -> bool:
        """Take note of a heartbeat; False when no bot goes by the name.

        ``progress`` is any number that changes as the bot's work goes on: heartbeats that carry
        the same one twice are those of a frozen bot. None: the heartbeat itself is the work.
        """
        bot = self._decisions.book.bots.get(bot_id)
        if bot is None:
            return False
        now_ns = self._clock.monotonic_ns()
        presence, verdict = heard(self._presence(bot, now_ns), now_ns, progress)
        self._heard[bot_id] = presence
        if verdict is BotVerdict.RETURNED:
            self._decisions.put(BotReturned(utc_us=self._clock.utc_us(), bot_id=bot_id))
        return True

    async def sign_off(self, bot_id: str) -> Decision:
        """Look after a bot no more; what it holds stays as it is.

        Raises:
            JournalError: it could not be made durable; the bot is looked after as before.
        """
        decision = await self._decisions.decide(
            recordable(BotSignedOff(utc_us=self._clock.utc_us(), bot_id=bot_id))
        )
        if decision.kind is DecisionKind.ACCEPTED:
            self._heard.pop(bot_id, None)
        return decision

    def report(self) -> tuple[BotReport, ...]:
        """Return every bot, in the order of registration."""
        now_ns = self._clock.monotonic_ns()
        return tuple(
            BotReport(bot=bot, heartbeat_age_ms=_age_ms(self._heard.get(bot.bot_id), now_ns))
            for bot in self._decisions.book.bots.values()
        )

    async def run(self) -> None:
        """Look at every bot, for ever."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """Judge everybody's silence once."""
        now_ns, bots = self._clock.monotonic_ns(), self._decisions.book.bots
        for bot_id in [name for name in self._heard if name not in bots]:
            del self._heard[bot_id]
        for bot in list(bots.values()):
            presence, verdict = looked(self._presence(bot, now_ns), now_ns)
            self._heard[bot.bot_id] = presence
            silent_ms = (now_ns - presence.heard_ns) // MILLISECOND_NS
            utc_us = self._clock.utc_us()
            if verdict is BotVerdict.SILENT:
                self._decisions.put(
                    BotFellSilent(utc_us=utc_us, bot_id=bot.bot_id, silent_ms=silent_ms)
                )
            elif verdict is BotVerdict.GIVEN_UP:
                self._decisions.put(
                    BotGivenUp(utc_us=utc_us, bot_id=bot.bot_id, silent_ms=silent_ms)
                )

    def _presence(self, bot: Bot, now_ns: int) -> BotPresence:
        """Return what is heard of a bot; one that an earlier process registered has its grace."""
        held = self._heard.get(bot.bot_id)
        if held is not None and held.terms == bot.terms:
            return held
        return begun_again(bot.terms, bot.state, now_ns)


def _age_ms(presence: BotPresence | None, now_ns: int) -> int | None:
    if presence is None or presence.beat_ns is None:
        return None
    return (now_ns - presence.beat_ns) // MILLISECOND_NS
