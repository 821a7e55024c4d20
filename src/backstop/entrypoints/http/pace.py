"""How many calls in a second are answered: a bot in a mad loop must not take the guard's time.

What takes risk away is never held up by it: whoever halts, closes, cancels or takes the account
flat is answered however many calls there were. Strangers without the token have an allowance of
their own, so that they cannot use up that of the operator.
"""

import re
import time
from collections.abc import Callable

CALLS_PER_S = 500
"""A call takes the event loop about 0.8 ms: half of its time at the most. Two hundred a second is
what many bots, a page and a collector of metrics ask for together."""

CALLS_AT_ONCE = 1000
"""What may come in one moment after a rest."""

RETRY_AFTER_S = 1

_TAKES_RISK_AWAY = re.compile(
    r"POST /v1/(halt|liquidate|positions/[^/]+/close)|DELETE /v1/orders/[^/]+"
    r"|PUT /v1/positions/[^/]+/protection"
)


class Pace:
    """An allowance that grows with time, to a bound; each call takes one from it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left = float(CALLS_AT_ONCE)
        self._at_s = clock()

    def allows(self) -> bool:
        """Take one call from the allowance; False when there is none."""
        now_s = self._clock()
        self._left = min(CALLS_AT_ONCE, self._left + (now_s - self._at_s) * CALLS_PER_S)
        self._at_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True


def takes_risk_away(method: str, path: str) -> bool:
    """Say whether a call can only make the account safer."""
    return _TAKES_RISK_AWAY.fullmatch(f"{method} {path}") is not None
