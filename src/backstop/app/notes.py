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


def failure_text(error: BaseException) -> str:
    """Return what failed as one line; of failures that came together, the first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
