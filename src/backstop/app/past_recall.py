"""What the past has to do with a fact: the archive is asked before the fact is decided upon.

What a fact names may have left the book long ago; then it comes back first, as a fact of its own.
While the archive cannot be read nobody can tell, so who asks is refused, unless it is an exit; and
what was held meanwhile is handled once the archive answers again.
"""

from typing import NamedTuple

from backstop.app.past_orders import PastOrders
from backstop.core.book import Book
from backstop.core.pre_trade import judge
from backstop.core.step import Step
from backstop.core.undecided import settling
from backstop.domain.events import (
    AccountAudited,
    Fact,
    OrderRequested,
    PastRecalled,
    PastUnreadable,
)
from backstop.errors import JournalError, StateFolderError
from backstop.ports import Clock


class Recalled(NamedTuple):
    """A fact after the archive was asked.

    Attributes:
        fact: as it is to be handled.
        before: what has to be handled before it; None: nothing.
        unreadable: why the archive could not be asked; None: it could.
    """

    fact: Fact
    before: PastRecalled | PastUnreadable | None = None
    unreadable: StateFolderError | None = None


class PastRecall:
    """Asks the archive on behalf of the decision loop, and hands over what leaves the book."""

    def __init__(self, past: PastOrders | None, *, clock: Clock) -> None:
        """Prepare; without ``past`` nothing ever left the book, and nothing is asked."""
        self._past = past
        self._clock = clock

    def keep(self, result: Step | None) -> None:
        """Take what left the book in a step."""
        if result is not None and result.let_go and self._past is not None:
            self._past.keep(result.let_go)

    def held(self, book: Book, fact: Fact) -> tuple[Fact, ...]:
        """Return what was held while the archive could not be asked, if ``fact`` may settle it.

        It is asked again with each audit. What is returned is handled before ``fact``.
        """
        if self._past is None or not isinstance(fact, AccountAudited):
            return ()
        held = settling(book, utc_us=fact.utc_us)
        return held if held and self._past.is_readable() else ()

    def recalled(self, book: Book, fact: Fact) -> Recalled:
        """Ask the archive for what ``fact`` names and the book does not hold any more."""
        if self._past is None:
            return Recalled(fact)
        try:
            return Recalled(*self._past.consult(book, fact))
        except StateFolderError as error:
            doubt = None
            if not book.doubt.fault:
                doubt = PastUnreadable(utc_us=fact.utc_us, reason=str(error))
            return Recalled(fact, doubt, error)

    def refusal(self, book: Book, recalled: Recalled) -> JournalError | None:
        """Return why nothing is decided for who asks; None where something can be.

        An order or a change may be, or be about, one of the past; an exit is let through all the
        same. ``book``: with what comes before the fact already in it.
        """
        if recalled.unreadable is None or self._is_exit(book, recalled.fact):
            return None
        return JournalError(str(recalled.unreadable))

    def _is_exit(self, book: Book, fact: Fact) -> bool:
        if not isinstance(fact, OrderRequested):
            return False
        judged = judge(book, fact, now_ns=self._clock.monotonic_ns())
        return judged is not None and judged.reducing
