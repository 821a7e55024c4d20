"""Liquidates by way of the command line, which asks a living guard and acts itself without one."""

import asyncio
import os
import signal
from collections.abc import Mapping

from backstop.adapters.child_process import own_command
from backstop.ports import LiquidationOutcome

LIMIT_S = 80.0
"""``backstop liquidate`` ends within 75 s by itself."""

OPERATOR = "watchdog"
"""Who asks, in the record."""

STOP_LIMIT_S = 2.0
"""How long it may take to end when we have to; then it is killed."""

MESSAGE_CHARACTERS_MAX = 2_000


class LiquidateCommand:
    """Implements ``ports.Liquidator`` with ``backstop liquidate --yes``."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        """Run the command with ``settings`` on top of this process's environment."""
        self._settings = settings

    async def liquidate(self, reason: str) -> LiquidationOutcome:
        """Run the command to its end; whatever goes wrong, the account counts as not flat."""
        command = own_command("liquidate", "--yes", "--reason", reason, "--operator", OPERATOR)
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env={**os.environ, **self._settings},
            )
        except OSError as error:
            return LiquidationOutcome(flat=False, message=f"it could not be started: {error}")
        try:
            async with asyncio.timeout(LIMIT_S):
                said, _ = await process.communicate()
        except TimeoutError:
            return LiquidationOutcome(flat=False, message=f"no end within {LIMIT_S:g} s")
        finally:
            if process.returncode is None:
                await _end(process)
        words = said.decode("utf-8", errors="replace").strip()[-MESSAGE_CHARACTERS_MAX:]
        return LiquidationOutcome(
            flat=process.returncode == 0, message=_message(process.returncode, words)
        )


def _message(exit_code: int | None, words: str) -> str:
    """Return what it said, and how it ended where that was not by itself."""
    if exit_code is not None and exit_code < 0:
        how = f"'backstop liquidate' was killed by {_signal(-exit_code)} before it had ended"
        return f"{how}; it had said: {words}" if words else f"{how}, and had said nothing"
    return words or f"'backstop liquidate' ended with exit code {exit_code} and said nothing"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


async def _end(process: asyncio.subprocess.Process) -> None:
    process.terminate()
    try:
        async with asyncio.timeout(STOP_LIMIT_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
