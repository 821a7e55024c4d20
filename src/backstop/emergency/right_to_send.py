"""Becoming the one process that may send: a guard that does not answer is stopped first.

Whoever liquidates holds a second lock all the while, so that two of them do not stop each other.
"""

import asyncio
import select
from collections.abc import Callable

from backstop.adapters.lock import AccountLock
from backstop.adapters.machine import machine
from backstop.adapters.process_watch import WatchedProcess
from backstop.errors import AlreadyRunningError

STOP_LIMIT_S = 2.0
"""How long a silent guard may take to end when it is told to; then it is killed."""

KILL_LIMIT_S = 5.0
"""The system ends a killed process at once, unless a disk holds it."""

LOOK_S = 0.005
"""A watchdog starts the next guard within a tenth of a second: the lock must be ours before."""

WAIT_S = 0.1


def lock_of_account(gateway_host: str, account_id: int) -> AccountLock:
    """Return the lock that every guard of the account holds."""
    return AccountLock(gateway_host=gateway_host, account=str(account_id))


def lock_of_liquidation(gateway_host: str, account_id: int) -> AccountLock:
    """Return the lock that whoever takes the account flat without a guard holds."""
    return AccountLock(gateway_host=gateway_host, account=f"{account_id}/liquidation")


def is_free(lock: AccountLock) -> bool:
    """Say whether nobody holds ``lock``."""
    try:
        with lock:
            return True
    except AlreadyRunningError:
        return False


async def turn_taken(lock: AccountLock, say: Callable[[str], None]) -> None:
    """Take ``lock``; wait while another liquidation is at work."""
    told = False
    while True:
        try:
            lock.acquire()
        except AlreadyRunningError:
            if not told:
                told = True
                say("Another liquidation of this account is at work; waiting for its end.")
            await asyncio.sleep(WAIT_S)
        else:
            return


async def taken_over(lock: AccountLock, say: Callable[[str], None]) -> None:
    """Take ``lock``; end the process that holds it, which was asked and did not answer.

    Raises:
        AlreadyRunningError: it cannot be ended, or another one took its place.
    """
    try:
        lock.acquire()
    except AlreadyRunningError:
        process_id = lock.holder_process_id()
        if process_id is None or process_id == machine().process_id:
            raise
    else:
        return
    try:
        holder = machine().watched(process_id)
    except OSError:  # it has ended meanwhile
        lock.acquire()
        return
    try:
        # The number may stand for another process since: only the one that holds the lock is ended.
        if lock.holder_process_id() == process_id and not is_free(lock):
            say(f"The guard (process {process_id}) does not answer: it is stopped.")
            holder.stop()
            if not await _acquired(lock, holder, STOP_LIMIT_S):
                say(f"It did not stop within {STOP_LIMIT_S:g} s: it is killed.")
                holder.kill()
                await _acquired(lock, holder, KILL_LIMIT_S)
    finally:
        holder.close()
    lock.acquire()


async def _acquired(lock: AccountLock, holder: WatchedProcess, limit_s: float) -> bool:
    """Wait for the end of ``holder`` and take the lock in the same moment."""
    loop = asyncio.get_running_loop()
    ends_s = loop.time() + limit_s
    while loop.time() < ends_s:
        try:
            lock.acquire()
        except AlreadyRunningError:
            if select.select([holder], [], [], 0)[0] and lock.holder_process_id() not in {
                holder.process_id,
                None,
            }:
                raise
            await asyncio.sleep(LOOK_S)
        else:
            return True
    return False
