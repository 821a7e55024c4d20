"""While the gateway refuses our key: no new exposure, and a person is told at once.

Stops at the venue need no session of ours and stay. A spare key, where there is one, lets exits,
stops and liquidation out; whether entries may use it too is not for a machine to decide, because
somebody may have revoked the key for a reason.
"""

from backstop.core.step import Tag, Workbench
from backstop.domain.alert_code import AlertCode
from backstop.domain.commands import Severity
from backstop.domain.events import LoginAccepted, LoginRefused

WITH_SPARE = (
    "TOPSTEPX_EMERGENCY_API_KEY was accepted: exits, stops and liquidation leave with it. Entries "
    "are refused until the key itself is accepted"
)
WITHOUT_SPARE = (
    "Nothing that we send can arrive: no entry, and no exit either. Stops that work at the venue "
    "stay there. Close positions on the platform if they must be closed"
)


def access_changed(work: Workbench, event: LoginRefused | LoginAccepted) -> None:
    """Refuse entries while our key is refused."""
    links = work.book.links
    match event:
        case LoginRefused():
            links.login_refused = True
            open_ones = sum(1 for view in work.book.positions.values() if view.quantity)
            held = f"{open_ones} position{'' if open_ones == 1 else 's'} open. " * bool(open_ones)
            work.alert(
                Severity.CRITICAL,
                AlertCode.LOGIN_REFUSED,
                f"The gateway does not accept TOPSTEPX_API_KEY any more. {event.reason} {held}"
                f"{WITH_SPARE if event.spare_works else WITHOUT_SPARE}. Store a new key where the "
                "old one is: it is taken up without a restart.",
            )
        case LoginAccepted():
            if links.login_refused:
                work.warn(Tag.CRITICAL_SYSTEM, "login_accepted")
            links.login_refused = False
