"""Opens the record of a state folder; one of which nothing is left is begun anew.

Nothing of such a record could be gone on with, and a position may wait for its guard. What is left
of it is kept. A record that is there and does not hold is another matter: to begin anew beside it
is for a person to decide.
"""

from functools import partial
from pathlib import Path
from typing import NamedTuple

from backstop.adapters.record_aside import set_record_aside
from backstop.adapters.signing import PUBLIC_KEY_FILE
from backstop.adapters.state_layout import AUDIT_DATABASE, CHECKPOINT_FOLDER, KEY_FOLDER
from backstop.app.audit_start import KnownTrees
from backstop.app.audit_trail import AuditTrail, FaultSink
from backstop.domain.numbers import count_text
from backstop.errors import RecordGoneError
from backstop.ports import Clock


class OpenedRecord(NamedTuple):
    """The record to go on with; ``signed`` entries of the one before it are gone, if ``kept``.

    ``kept`` says what was signed of that one and where what is left of it is; empty: there is one
    record, and it goes on.
    """

    trail: AuditTrail
    signed: int = 0
    kept: str = ""


def open_record(
    folder: Path,
    *,
    account_id: int,
    epoch: int,
    clock: Clock,
    mirror: Path | str | None,
    on_fault: FaultSink,
    known: KnownTrees,
) -> OpenedRecord:
    """Open the record in ``folder``, or begin one; the arguments as of ``AuditTrail.open``.

    Raises:
        StateFolderError: the folder cannot be used, or its record is not what was signed.
    """
    opened = partial(
        AuditTrail.open,
        folder,
        account=str(account_id),
        epoch=epoch,
        clock=clock,
        mirror=mirror,
        on_fault=on_fault,
        known=known,
    )
    try:
        return OpenedRecord(trail=opened())
    except RecordGoneError as gone:
        signed, root = gone.size, gone.root
    far = mirror / f"backstop-{account_id}" if isinstance(mirror, Path) else None
    kept = _set_aside(folder, mirror=far, utc_us=clock.utc_us())
    return OpenedRecord(
        trail=opened(),
        signed=signed,
        kept=f"{count_text(signed, 'record')} with the root {root} had been signed, and none is "
        f"left: what was beside them is kept in {kept.name}, and a new record begins.",
    )


def _set_aside(folder: Path, *, mirror: Path | None, utc_us: int) -> Path:
    """Set aside what is left of a record that is gone; returns the folder that holds it."""
    files = (AUDIT_DATABASE, f"{AUDIT_DATABASE}-wal", f"{AUDIT_DATABASE}-shm")
    return set_record_aside(
        folder,
        parts=(*files, CHECKPOINT_FOLDER),
        copies=(f"{KEY_FOLDER}/{PUBLIC_KEY_FILE}",),
        mirror=mirror,
        utc_us=utc_us,
    )
