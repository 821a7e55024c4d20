"""What the watchdog does when an account with open positions was left alone for too long."""

from collections.abc import Sequence

from backstop.adapters.liquidate_command import LiquidateCommand
from backstop.adapters.lock import AccountLock
from backstop.domain.heartbeat import Armed, Hello
from backstop.entrypoints.run_options import run_overrides
from backstop.errors import BackstopError
from backstop.ports import LiquidationOutcome, Liquidator


class OnceTheAccountIsFree:
    """A liquidator that acts only while no guard holds the account: two would sell twice."""

    def __init__(self, then: Liquidator, *, gateway_host: str, account: str) -> None:
        self._then = then
        self._lock = AccountLock(gateway_host=gateway_host, account=account)

    async def liquidate(self, reason: str) -> LiquidationOutcome:
        """Liquidate, unless another process has the right to send."""
        try:
            with self._lock:
                pass  # the command takes it itself, for as long as it acts
        except BackstopError as error:
            return LiquidationOutcome(flat=False, message=f"not ours to act: {error}")
        return await self._then.liquidate(reason)


def liquidator(
    hello: Hello | None, listen: Armed | None, run: Sequence[str], *, guard_lives: bool
) -> Liquidator:
    """Return who liquidates: a living guard by way of its API, else a process of its own.

    Args:
        hello: what the newest guard said of itself; None when none came so far.
        listen: where its API listened.
        run: what stood after ``backstop run``.
        guard_lives: a guard is at work; it is the one to be asked.
    """
    settings = dict(run_overrides(run))
    if listen is not None:
        settings["BACKSTOP_LISTEN"] = f"{listen.host}:{listen.port}"
    command = LiquidateCommand(settings)
    if hello is None or guard_lives:
        return command
    return OnceTheAccountIsFree(
        command, gateway_host=hello.gateway_host, account=str(hello.account_id)
    )
