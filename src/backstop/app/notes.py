"""The core's notes as log lines: the core says what happened, the adapter writes it down."""

from backstop.adapters.log import component_logger
from backstop.core.step import Note
from backstop.domain.commands import Severity


def log_note(note: Note, *, seq: int) -> None:
    """Write one note; ``seq`` is the number of the step it belongs to."""
    logger = component_logger(note.tag)
    match note.severity:
        case Severity.CRITICAL:
            logger.critical(note.name, seq=seq, **note.fields)
        case Severity.WARNING:
            logger.warning(note.name, seq=seq, **note.fields)
        case Severity.INFO:
            logger.info(note.name, seq=seq, **note.fields)


FAILURE_TEXT_MAX = 2000
"""Characters of a failure that are kept: some carry whole documents, and it goes into alerts."""


def failure_text(error: BaseException) -> str:
    """Return what failed as one line that UTF-8 can carry; of failures together, the first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    try:
        said = str(error)
    except Exception as unsayable:  # noqa: BLE001 - it may be of somebody else's class
        said = f"(it cannot say: {type(unsayable).__name__})"
    line = " ".join(f"{type(error).__name__}: {said}".split())[:FAILURE_TEXT_MAX]
    return line.encode(errors="replace").decode()
