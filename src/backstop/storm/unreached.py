"""What no seed can reach in this world, and why; tests of their own hold each of it.

Only what cannot happen here stands in ``UNREACHED``. What can, and has to meet something else for
it, stands in ``RARE`` with what that is: where no seed has reached it, the page of the storm says
so.
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
_TWIN: Final = "the request of an order has to arrive twice, and the refused twin to be told first"
_MONTH_LEFT: Final = (
    "the guard leaves a month before its end; it takes somebody else who trades that month in its "
    "last seconds, or a guard that is away until then"
)
_SILENCE_FIRST: Final = "somebody else has to cancel an order before anybody has said that it works"
_TAKEN_BACK_EARLY: Final = "a trade has to be taken back while its order's end was not told yet"
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
                AlertCode.PAST_ORDERS_UNUSABLE,
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
        AlertCode.BOT_RETURNED: "the storm's bots register anew after each of their silences",
        AlertCode.STRATEGY_FAILED: "no guard of the storm hosts a strategy: its bots are others",
    },
    CLASSES: {"WRONG_ACCOUNT": "the simulated user has one account, and the guard is told of it"},
}
"""By kind and name; every other thing can be reached."""

RARE: Final[dict[str, dict[str, str]]] = {
    TRANSITIONS: {
        **dict.fromkeys(
            (
                *_from(_S.SENT, _S.EXPIRED),
                *_from(_S.UNKNOWN, _S.EXPIRED),
                *_from(_S.WORKING, _S.EXPIRED),
                *_from(_S.PARTIALLY_FILLED, _S.EXPIRED),
                *_from(_S.FILLED, _S.EXPIRED),
            ),
            _MONTH_LEFT,
        ),
        **dict.fromkeys(
            (*_from(_S.SENT, _S.CANCELLED), *_from(_S.UNKNOWN, _S.CANCELLED)), _SILENCE_FIRST
        ),
        **dict.fromkeys(_from(_S.WORKING, _S.UNKNOWN), _TWIN),
        **dict.fromkeys(
            _from(_S.PARTIALLY_FILLED, _S.CANCELLED),
            "an order has to be cancelled between two of its fills",
        ),
        **dict.fromkeys(
            (
                *_from(_S.PARTIALLY_FILLED, _S.WORKING),
                *_from(_S.FILLED, _S.PARTIALLY_FILLED, _S.WORKING),
            ),
            _TAKEN_BACK_EARLY,
        ),
        **dict.fromkeys(
            _from(_S.CANCELLED, _S.FILLED, _S.PARTIALLY_FILLED),
            "an order of which a fill was taken back has to be filled once more afterwards",
        ),
    },
    DENIALS: {
        "INSTRUMENT_NOT_ACTIVE": "a guard has to start after the end of a month, and a bot has to "
        "want that month",
        "GATE_OBSERVE_ONLY": "one seed in eighty has a guard that only observes",
        "POSITION_IN_QUESTION": "reads of one moment have to take a position away, and a bot has "
        "to order just then what would close it",
        "STATE_STARTING": "a bot has to ask in the moment between the start of a guard and its "
        "first read of the contracts",
    },
    ALERTS: {
        AlertCode.CONTRACT_EXPIRED: _MONTH_LEFT,
        AlertCode.CONTRADICTION: "two facts about one order have to contradict each other; the "
        "simulated exchange tells old ones, and each of them was true once",
        AlertCode.LIMIT_LOOSENED: "a person has to change one limit twice, the second time to more",
        AlertCode.POSITION_HELD_OVER: "a position has to come about after the close: by a trade "
        "that is taken back then, or by an order that was on its way",
        AlertCode.ORDER_MISREGISTERED: "a bot that sends its orders itself has to register another "
        "one than it sends, before the venue has told of it",
        AlertCode.ORDER_STAYS: "the line has to lose the cancels of one order four times in a row, "
        "while its reads get through and show that it still works",
        AlertCode.SESSION_CONTESTED: "the user hub has to be taken again and again from a guard "
        "beside a bot that trades by itself: one seed in two hundred can have that",
    },
    CLASSES: {
        "CONTRACT_EXPIRED": _MONTH_LEFT,
        "UNKNOWN_ORDER": "somebody has to place an order while no guard runs, and it has to be "
        "there still when one starts",
    },
}
"""What it takes, by kind and name: each can be reached."""
