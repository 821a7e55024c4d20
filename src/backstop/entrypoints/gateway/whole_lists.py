"""A list of the broker that lacks what has long been proven is no answer: it is asked for again.

The broker may call an empty list a success, or one of which a page got lost. The guard concludes
nothing from it. A bot that has just come back takes it for the whole account, and nobody ever
tells it otherwise. What several answers in a row lack, though, the broker does not list: bots get
what it does.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from backstop.ports import Clock

TRIES: Final = 3

AGAIN_S: Final = 0.25
"""Between two tries: what is read at once may come from the same wrong picture."""

BELIEVED_NS: Final = 60_000_000_000
"""How long such lists are taken as they come after as many tries: bots that poll cost one call
each again, and not three."""

_Answer = TypeVar("_Answer")


class WholeLists:
    """Reads lists until they show what they must."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._believed_until_ns: dict[str, int] = {}  # by endpoint, of which there are few

    async def read(
        self,
        path: str,
        ask: Callable[[], Awaitable[_Answer]],
        *,
        proven: frozenset[object],
        shown: Callable[[_Answer], frozenset[object]],
    ) -> _Answer:
        """Return the first answer of ``ask`` that shows all of ``proven``, or else the best one.

        Whatever ``ask`` raises ends it: no answer leaves nobody in error, and is asked for again.
        """
        best = await ask()
        if self._clock.monotonic_ns() < self._believed_until_ns.get(path, 0):
            return best
        for _ in range(TRIES - 1):
            if proven <= shown(best):
                return best
            await asyncio.sleep(AGAIN_S)
            best = min(best, await ask(), key=lambda it: _poverty(shown(it), proven))
        if not proven <= shown(best):
            self._believed_until_ns[path] = self._clock.monotonic_ns() + BELIEVED_NS
        return best


def _poverty(shown: frozenset[object], proven: frozenset[object]) -> tuple[int, int]:
    return len(proven - shown), -len(shown)
