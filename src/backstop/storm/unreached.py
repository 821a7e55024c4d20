"""What no seed can reach in this world, and why; tests of their own hold each of it.

Only what cannot happen here stands in this table. What could and has not so far is not excused:
the page of the storm names it.
"""

from typing import Final

from backstop.domain.alert_code import AlertCode
from backstop.domain.order import OrderState
from backstop.storm.coverage import ALERTS, CLASSES, DENIALS, TRANSITIONS

_NO_LIE: Final = (
    "the simulated exchange tells late, twice, in the wrong order or not at all, and what it tells "
    "was true once: no row of it is that of another order"
)
_READABLE: Final = "the simulated disk fails where it is written to; what is there can be read"
_LOST: Final = (
    "the simulated disk keeps what it has acknowledged; were it said, a rule of safety were broken"
)
_ABSENT: Final = (
    "an order that is said to have never arrived and is there after all breaks the rule that "
    "nothing is concluded from absence"
)
_REFUSED: Final = "no fault refuses an order that the venue works all the same"
_NEVER_REFUSED: Final = "the simulated exchange refuses an order before it works, or never"
_ENDED: Final = "an order of a month that has ended fills no more"
_NUMBER_FIRST: Final = (
    "a trade belongs to an order by its number, and the row or the answer that tells the number "
    "makes the order WORKING first; the storm's bots register theirs by tags, never by numbers"
)
_SENT_FIRST: Final = (
    "the step to SENT is taken before the request leaves, and a start takes an order that lacks it "
    "for UNKNOWN first"
)


def _from(before: OrderState, *after: OrderState) -> tuple[str, ...]:
    return tuple(f"{before} -> {state}" for state in after)


_S: Final = OrderState

UNREACHED: Final[dict[str, dict[str, str]]] = {
    TRANSITIONS: {
        **dict.fromkeys(
            _from(
                _S.NOT_SUBMITTED,
                *(_S.CANCELLED, _S.EXPIRED, _S.FILLED, _S.PARTIALLY_FILLED),
                *(_S.REJECTED, _S.UNKNOWN, _S.WORKING),
            ),
            _ABSENT,
        ),
        **dict.fromkeys(
            _from(
                _S.REJECTED,
                *(_S.CANCELLED, _S.FILLED, _S.PARTIALLY_FILLED, _S.UNKNOWN, _S.WORKING),
            ),
            _REFUSED,
        ),
        **dict.fromkeys(
            (
                *_from(_S.WORKING, _S.REJECTED),
                *_from(_S.PARTIALLY_FILLED, _S.REJECTED),
                *_from(_S.FILLED, _S.REJECTED),
            ),
            _NEVER_REFUSED,
        ),
        **dict.fromkeys(_from(_S.EXPIRED, _S.FILLED, _S.PARTIALLY_FILLED), _ENDED),
        **dict.fromkeys(
            (
                *_from(_S.SENT, _S.FILLED, _S.PARTIALLY_FILLED),
                *_from(_S.UNKNOWN, _S.FILLED, _S.PARTIALLY_FILLED),
            ),
            _NUMBER_FIRST,
        ),
        **dict.fromkeys(
            _from(
                _S.INTENDED,
                *(_S.CANCELLED, _S.EXPIRED, _S.FILLED, _S.PARTIALLY_FILLED),
                *(_S.REJECTED, _S.WORKING),
            ),
            _SENT_FIRST,
        ),
    },
    DENIALS: {},
    ALERTS: {
        **dict.fromkeys(
            (
                AlertCode.ORDER_DOUBLED,
                AlertCode.ORDER_ID_REUSED,
                AlertCode.ORDER_MISMATCHED,
                AlertCode.TRADE_MISMATCHED,
                AlertCode.TRADE_RESTATED,
            ),
            _NO_LIE,
        ),
        **dict.fromkeys(
            (
                AlertCode.PAST_READABLE,
                AlertCode.PAST_UNREADABLE,
                AlertCode.TRADE_UNDECIDED,
            ),
            _READABLE,
        ),
        **dict.fromkeys((AlertCode.RECORDS_LOST, AlertCode.RECORD_UNSOUND), _LOST),
        AlertCode.STATE_FOLDER_OPEN: "the simulated computer has one user, whose folder is closed",
        AlertCode.ALERT_CHANNEL_UNREACHED: "the guards of the storm have no alert addresses",
        AlertCode.LIMIT_BROKEN: "it takes a limit whose code is wrong: planted bugs alone have one",
    },
    CLASSES: {"WRONG_ACCOUNT": "the simulated user has one account, and the guard is told of it"},
}
"""By kind and name; every other thing can be reached."""
