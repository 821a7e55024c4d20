"""What a liquidation did while no guard was at work becomes part of the record, once."""

from pathlib import Path

from backstop.app.loop import DecisionLoop
from backstop.domain.events import EmergencyRunRecorded
from backstop.emergency.spool import read_spool, set_aside, spool_places
from backstop.ports import Clock


def take_over_emergency_run(
    loop: DecisionLoop, state_folder: Path, lock: Path, *, clock: Clock
) -> None:
    """Fold and record what such a run left, with a record that states it; after the replay.

    The file goes aside at the start after the one that recorded it: only then is it certain that
    the record is on disk. A death in between records nothing, or everything.

    Args:
        loop: its book is that of the process before; this process has not begun.
        state_folder: where the run wrote.
        lock: the lock of the account; beside it the run wrote when the folder took nothing.
        clock: for the time of the record that states it.

    Raises:
        StateFolderError: the run was of a version that knows more than this one.
    """
    found = read_spool(spool_places(state_folder, lock))
    if not found.digest and not found.unreadable:
        return
    if found.digest and found.digest == loop.book.emergency_digest:
        set_aside(found)
        return
    loop.take_over(
        found.records,
        EmergencyRunRecorded(
            utc_us=clock.utc_us(),
            facts=len(found.records),
            unreadable=found.unreadable,
            digest=found.digest,
        ),
    )
