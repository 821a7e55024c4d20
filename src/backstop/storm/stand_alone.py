"""The process that takes an account flat for a watchdog: by the guard, or in its place.

It does what ``backstop liquidate --yes`` does: a guard that answers is asked and followed; one that
does not is stopped, and then this process logs in with a session of its own.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.config.settings import Settings
from backstop.core.liquidation import LiquidationState
from backstop.domain.alert_code import AlertCode
from backstop.domain.commands import RaiseAlert
from backstop.emergency.right_to_send import (
    lock_of_account,
    lock_of_liquidation,
    taken_over,
    turn_taken,
)
from backstop.emergency.runner import EmergencyLiquidation, Wanted
from backstop.errors import BackstopError
from backstop.ports import Clock, LiquidationOutcome
from backstop.storm.machine import NumberedProcess, StormMachine

OPERATOR: Final = "watchdog"

LIMIT_S: Final = 70.0
"""As long as the command takes at most, flat or not."""

SILENT_S: Final = 3.0
"""A guard that does not answer for so long cannot act."""

LOOK_S: Final = 0.25


class AskedGuard:
    """A guard that lives, as somebody sees it who asks it over its interface."""

    def __init__(
        self, machine: StormMachine, process: NumberedProcess, guard: CriticalSystemManager
    ) -> None:
        self._machine = machine
        self._process = process
        self._guard = guard

    @property
    def answers(self) -> bool:
        """It could answer just now."""
        return self._process.alive and not self._process.frozen and self._guard.is_running

    async def liquidates(self, reason: str) -> bool | None:
        """Have it do it; None when it does not answer."""
        begun: list[str | None] = []

        async def begin() -> None:
            with suppress(BackstopError):
                decision = await self._guard.liquidate(reason=reason, operator=OPERATOR)
                begun.append(decision.liquidation_id)

        self._machine.inside(self._process, begin)
        loop = asyncio.get_running_loop()
        ends_s, heard_s = loop.time() + LIMIT_S, loop.time()
        while loop.time() < ends_s:
            await asyncio.sleep(LOOK_S)
            name = begun[0] if begun and self.answers else None
            if name is not None:
                heard_s = loop.time()
                run = self._guard.liquidation(name)
                if run is not None and run.state is LiquidationState.FLAT:
                    return True
            elif loop.time() - heard_s > SILENT_S:
                return None
        return False


class StandAlone:
    """One such process.

    Attributes:
        acts: it sends by itself, with a session of its own.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        on_alert: Callable[[AlertCode, str], None],
        say: Callable[[str], None],
    ) -> None:
        self.acts = False
        self._settings = settings
        self._clock = clock
        self._on_alert = on_alert
        self._say = say

    async def run(self, reason: str, guard: AskedGuard | None) -> LiquidationOutcome:
        """Take it flat; whatever goes wrong, the account counts as not flat."""
        try:
            if guard is not None and guard.answers:
                flat = await guard.liquidates(reason)
                if flat is not None:
                    return LiquidationOutcome(flat=flat, message="by the guard")
            return await self._alone(reason)
        except BackstopError as error:
            return LiquidationOutcome(flat=False, message=str(error))

    async def _alone(self, reason: str) -> LiquidationOutcome:
        settings, clock = self._settings, self._clock
        host, account_id = urlsplit(settings.api_url).netloc, settings.account_id
        lock, turn = lock_of_account(host, account_id), lock_of_liquidation(host, account_id)
        run = EmergencyLiquidation(
            settings,
            Wanted(reason=reason, operator=OPERATOR),
            lock=lock,
            clock=clock,
            ends_ns=clock.monotonic_ns() + round(LIMIT_S * 1e9),
            say=self._say,
            alert=self._alert,
        )
        try:
            async with asyncio.timeout(LIMIT_S):
                await turn_taken(turn, self._say)
            await taken_over(lock, self._say)
            self.acts = True
            ended = await run.run()
        except TimeoutError:
            return LiquidationOutcome(flat=False, message="another liquidation was at work")
        finally:
            lock.release()
            turn.release()
        return LiquidationOutcome(flat=ended.flat, message=ended.why or "two reads prove it")

    def _alert(self, alert: RaiseAlert) -> None:
        self._on_alert(AlertCode(alert.code), alert.message)
