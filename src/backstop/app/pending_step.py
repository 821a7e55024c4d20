"""One step on its way to the disk."""

import asyncio

from backstop.app.waiter import answer, refuse
from backstop.core.step import Decision, Step
from backstop.domain.events import Fact


class PendingStep:
    """What a fact led to, and who waits for the decision; nothing of it has left.

    Attributes:
        fact: what happened.
        result: what followed from it; less, once something of it may not leave.
        asker: waits for the decision; None where nobody asked.
        seq: the number of its first record.
        last_seq: and of its last one.
        proofs: signed proofs among its records, by client order id.
        left: it was let go although its records are not on disk, and they are still to come.
    """

    __slots__ = ("asker", "fact", "last_seq", "left", "proofs", "result", "seq")

    def __init__(
        self,
        fact: Fact,
        result: Step,
        *,
        asker: asyncio.Future[Decision] | None,
        seq: int,
        last_seq: int,
        proofs: dict[str, bytes],
    ) -> None:
        self.fact = fact
        self.result = result
        self.asker = asker
        self.seq = seq
        self.last_seq = last_seq
        self.proofs = proofs
        self.left = False

    def answer(self, decision: Decision) -> None:
        """Tell whoever asked, unless they have heard or gone."""
        answer(self.asker, decision)

    def refuse(self, error: Exception) -> None:
        """Tell whoever asked that there is no decision, likewise."""
        refuse(self.asker, error)
