"""What a start found wrong with its folder and its alert channels: a person is told.

Records that are gone latch as well (``standing_latches``). All else the journal and the broker
replace, so no latch and no refusal follows. But who has an older copy of the folder, or a disk that
loses what it confirmed, must not learn it from a log; nor who shares the machine with others, that
they could have changed it. And an alert channel that is dead is told while there is nothing else to
tell, by the channels that are not.
"""

from backstop.core.step import Workbench
from backstop.domain.alert_code import AlertCode
from backstop.domain.commands import Severity
from backstop.domain.events import AlertChannelUnreached, GuardStarted
from backstop.domain.numbers import count_text


def tell_findings(work: Workbench, event: GuardStarted) -> None:
    """Alert of records that are gone, an unusable archive, and a folder that was open."""
    if event.records_lost:
        newest = f"The newest {count_text(event.records_lost, 'record')} of the journal"
        work.alert(
            Severity.CRITICAL,
            AlertCode.RECORDS_LOST,
            f"{'The journal was' if event.record_kept else newest + ' were'} on disk and "
            f"{'is' if event.record_kept else 'are'} gone: the file was torn, or is an older copy. "
            f"{event.record_kept}{' ' if event.record_kept else ''}"
            "Positions, orders and trades are read from the broker, and what the newest state file "
            "knows is kept. Entries are refused, exits and stops go on: look at halts, latches and "
            "changed limits, then resume with a name and a reason.",
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


def tell_unreached(work: Workbench, event: AlertChannelUnreached) -> None:
    """Alert of a channel by which nobody could be called."""
    work.alert(
        Severity.WARNING,
        AlertCode.ALERT_CHANNEL_UNREACHED,
        f"{unreached_words(event.channel, event.service, event.reason)}. It was only connected to; "
        "trading does not wait for it. Check BACKSTOP_ALERT_URLS and the network, and try: "
        "backstop alerts test",
    )


def unreached_words(channel: int, service: str, reason: str) -> str:
    """Return which channel calls nobody, and why, for people."""
    return (
        f"BACKSTOP_ALERT_URLS: channel {channel} ({service}) cannot be reached: {reason}. Nobody "
        "is called by it until it answers"
    )
