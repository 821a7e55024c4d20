"""What a start found wrong with its state folder: a person is told, and nothing waits for it.

The journal and the broker replace what was lost, so no latch and no refusal follows. But who has
an older copy of the folder, or a disk that loses what it confirmed, must not learn it from a log;
nor who shares the machine with others, that they could have changed it.
"""

from backstop.core.step import Workbench
from backstop.domain.alert_code import AlertCode
from backstop.domain.commands import Severity
from backstop.domain.events import GuardStarted
from backstop.domain.numbers import count_text


def tell_findings(work: Workbench, event: GuardStarted) -> None:
    """Alert of records that are gone, an unusable archive, and a folder that was open."""
    if event.records_lost:
        work.alert(
            Severity.CRITICAL,
            AlertCode.RECORDS_LOST,
            f"The newest {count_text(event.records_lost, 'record')} of the journal were on disk "
            "and are gone: the file was torn, or is an older copy. Positions, orders and trades "
            "are read from the broker; decisions that nobody else knows are gone: look at halts, "
            "latches and changed limits.",
        )
    if event.past_unusable:
        work.alert(
            Severity.WARNING,
            AlertCode.PAST_ORDERS_UNUSABLE,
            f"{event.past_unusable} A file that is there is kept aside, and what it held is made "
            "again from the journal; nothing waits for it.",
        )
    if event.folder_open:
        work.alert(
            Severity.CRITICAL if event.folder_changeable else Severity.WARNING,
            AlertCode.STATE_FOLDER_OPEN,
            f"{event.folder_open} The guard goes on: positions and orders are the broker's, and "
            "the record is checked against its signed heads.",
        )
