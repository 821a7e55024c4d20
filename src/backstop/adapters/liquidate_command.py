"""Liquidates by way of the command line, which asks a living guard and acts itself without one."""

import asyncio
import os
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
        message = said.decode("utf-8", errors="replace").strip()[-MESSAGE_CHARACTERS_MAX:]
        return LiquidationOutcome(flat=process.returncode == 0, message=message)


async def _end(process: asyncio.subprocess.Process) -> None:
    process.terminate()
    try:
        async with asyncio.timeout(STOP_LIMIT_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
