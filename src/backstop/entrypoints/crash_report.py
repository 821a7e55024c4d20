"""Writes down what the watchdog knows of a failed guard: a process of its own, that may take long.

It reads the settings for one reason: their secrets are to be struck out. Without them it shows no
records.
"""

import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from backstop import __version__
from backstop.adapters.crash_folder import CrashFolder, CrashReport
from backstop.adapters.log import Redactor
from backstop.adapters.sqlite.last_records import last_records
from backstop.adapters.stack_dump import bound_stacks, forget_stacks, read_stacks
from backstop.adapters.state_layout import AUDIT_DATABASE, CRASH_FOLDER
from backstop.config.settings import Settings
from backstop.entrypoints.process_words import read_words
from backstop.entrypoints.run_options import run_overrides
from backstop.entrypoints.watch_notes import CrashNote
from backstop.errors import BackstopError

RECORDS_SHOWN = 200

STACKS_LIMIT_S = 1.0
"""How long to wait for the stacks of a process that was just asked for them."""

STACKS_LOOK_S = 0.05

NO_STACKS = "The process wrote no stacks: it did not run, or it was killed from outside."
"""SIGKILL leaves none, and a stopped process writes none before it goes on."""


def run(arguments: Sequence[str]) -> int:
    """Write one dump; ``arguments`` begin with the verb."""
    given = read_words(arguments[1:])
    note = msgspec.json.decode(given.option("--note"), type=CrashNote)
    folder = Path(note.state_folder)
    stacks = _stacks(folder / CRASH_FOLDER, note)
    redactor = Redactor()
    records: tuple[str, ...]
    try:
        settings = Settings.load(
            overrides=run_overrides(given.run), require_credentials=False, asks_vaults=True
        )
    except BackstopError:
        records = ("left out: the settings cannot be read, so secrets could not be struck out",)
    else:
        for secret in settings.secrets:
            redactor.register(secret)
        records = last_records(folder / AUDIT_DATABASE, RECORDS_SHOWN)
    report = CrashReport(
        what=note.what,
        why=note.why,
        process_id=note.process_id,
        versions={
            "backstop": __version__,
            "python": sys.version.split()[0],
            "system": platform.platform(),
        },
        stacks=stacks,
        records=records,
        state=note.state,
    )
    CrashFolder(folder / CRASH_FOLDER).write(report, redactor.redact)
    return 0


def _stacks(folder: Path, note: CrashNote) -> tuple[str, ...]:
    """Return the stacks that the process wrote; one that has ended writes no more."""
    dead = note.what != "STALE"
    deadline_s = time.monotonic() + (0 if dead else STACKS_LIMIT_S)
    while not (lines := read_stacks(folder, note.process_id)) and time.monotonic() < deadline_s:
        time.sleep(STACKS_LOOK_S)
    (forget_stacks if dead else bound_stacks)(folder, note.process_id)
    return lines or (NO_STACKS,)
