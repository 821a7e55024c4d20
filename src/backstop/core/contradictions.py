"""After an alert that says that the venue contradicts itself, entries wait for a person.

Contracts count in full whatever is wrong about their order, and exits pass. But what one order
shows of the venue may go wrong with the next one too, so no new exposure is taken on.
"""

from backstop.core.lifecycle import MACHINE, latched
from backstop.core.step import Workbench
from backstop.core.trading_state import Latch, LatchKind
from backstop.domain.alert_code import AlertCode
from backstop.domain.commands import RaiseAlert

FREEZING = frozenset(
    {
        AlertCode.OVERFILL,
        AlertCode.ORDER_ID_REUSED,
        AlertCode.ORDER_MISMATCHED,
        AlertCode.TRADE_MISMATCHED,
        AlertCode.TRADE_RESTATED,
    }
)
"""Codes of the alerts that freeze entries."""


def freeze_entries(work: Workbench) -> None:
    """Put a latch on for every such alert of this step."""
    for command in tuple(work.commands):
        if isinstance(command, RaiseAlert) and command.code in FREEZING:
            latched(
                work,
                Latch(
                    kind=LatchKind.CONTRADICTION,
                    cause=command.message,
                    operator=MACHINE,
                    utc_us=work.utc_us,
                ),
            )
