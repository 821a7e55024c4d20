"""One component as bots in Python see it: a part of a guard, or the owner of one of its own."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Self

from backstop.app.wish_checks import checked_wait_s
from backstop.config.settings import Settings
from backstop.errors import GatewayUnreachableError, SettingError, SetupError

if TYPE_CHECKING:
    from backstop.app.critical_system_manager import CriticalSystemManager

READY_LIMIT_S = 60.0
"""How long the start waits for hubs and account; a gateway that answers takes a second or two."""

LOOK_S = 0.02
"""Pause between looks at what no single order owns."""


async def until(guard: "CriticalSystemManager", is_true: Callable[[], bool]) -> None:
    """Wait until ``is_true``; raises what ended the guard, if that comes first."""
    failing = asyncio.ensure_future(guard.failed())
    try:
        while not is_true():
            await asyncio.wait((failing,), timeout=LOOK_S)
            if failing.done():
                failing.result()
    finally:
        failing.cancel()


class GuardPart:
    """What every component that can be used alone has in common.

    Without a guard it starts one of its own; what that guard may send depends on ``DRY_RUN`` and
    ``EXECUTE`` alone. Leave it with ``async with``, or close ``guard``.
    """

    SWITCH: ClassVar[str]
    """Name of the setting that switches the component off."""
    PURPOSE: ClassVar[str]
    """What it is on for, in words that follow "1"."""
    INITIALIZE: ClassVar[str]
    """Name of the operation that starts it."""
    NOT_READY: ClassVar[str]
    """What cannot be done while the account has not been read."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        guard: "CriticalSystemManager | None" = None,
    ) -> None:
        """Prepare; nothing is read or contacted yet.

        Args:
            settings: of a guard of its own; those of the environment if None.
            guard: a started guard to be the face of; it is closed by whoever started it.
        """
        self._settings = settings
        self._guard = guard
        self._owns_guard = guard is None

    async def __aenter__(self) -> Self:
        await self._ready(timeout_s=READY_LIMIT_S)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._owns_guard and self._guard is not None:
            # Ctrl-C and a cancelled task are a person's wish; what else ends a bot is a crash.
            await self._guard.close(by_person=kind is None or not issubclass(kind, Exception))

    @property
    def guard(self) -> "CriticalSystemManager":
        """The guard that does the work; raises SetupError before there is one."""
        if self._guard is None:
            raise SetupError(f"Not started: call {self.INITIALIZE}() first.")
        return self._guard

    async def _ready(self, *, timeout_s: float) -> None:
        """Start a guard if there is none, and wait until it has read the account.

        Raises:
            DomainError: ``timeout_s`` is no finite number of seconds; nothing was started.
            SetupError: settings, state folder, keys, or another guard on the account.
            LoginRefusedError: the gateway refuses the credentials.
            GatewayUnreachableError: the account could not be read within ``timeout_s``.
        """
        wait_s = checked_wait_s(timeout_s)
        if self._guard is None:
            self._guard = await self._started_guard()
        guard = self._guard
        try:
            async with asyncio.timeout(wait_s):
                await guard.account_read()
        except TimeoutError:
            why = "; ".join(guard.book.state_reasons(guard.now_ns()))
            if self._owns_guard:
                self._guard = None
                await guard.close()
            raise GatewayUnreachableError(
                f"{self.NOT_READY} yet after {wait_s:g} s: {why}. Nothing was sent."
            ) from None

    async def _started_guard(self) -> "CriticalSystemManager":
        from backstop.app.critical_system_manager import (  # noqa: PLC0415 - it has this as a part
            CriticalSystemManager,
        )

        settings = self._settings or Settings.load()
        if not getattr(settings, self.SWITCH.lower()):
            raise SettingError(self.SWITCH, "is off", f"1 {self.PURPOSE}")
        guard = CriticalSystemManager.from_settings(settings)
        await guard.initialize()
        return guard
