"""Orders by their names, also those that the book has let go of, and the proofs of their fills."""

from pathlib import Path

from backstop.adapters.sqlite.audit_store import AuditStore
from backstop.app.disk_worker import DiskWorker
from backstop.app.loop import DecisionLoop
from backstop.app.past_orders import PastOrders
from backstop.core.past import PastOrder
from backstop.core.tracked_order import TrackedOrder
from backstop.domain.order import OrderState
from backstop.errors import JournalError, StateFolderError


class OrderRecords:
    """Reads the book, the archive of finished orders, and the audit rows; changes nothing.

    What is not in memory is read beside the event loop, one question after the other. Who asks
    waits for the answer, so no more of them wait than there may be callers.
    """

    def __init__(self, loop: DecisionLoop, *, past: PastOrders, database: Path) -> None:
        """Read for the guard of ``loop``; ``database`` is its audit record."""
        self._loop = loop
        self._past = past
        self._database = database
        self._line = DiskWorker("order records")

    def close(self) -> None:
        """Answer what was asked, and take no more questions."""
        self._line.close()

    async def named(self, order_id: str) -> TrackedOrder | None:
        """Return an order by its client id or its number, also one of the past.

        Raises:
            JournalError: the book does not hold it, and the past cannot be read.
        """
        held = self._loop.book.order_named(order_id)
        if held is not None:
            return held
        past = await self.past(order_id)
        return None if past is None else past.order

    async def past(self, order_id: str) -> PastOrder | None:
        """Return a finished order that the book has let go of, by its client id or its number.

        Raises:
            JournalError: whether there is one cannot be read.
        """
        try:
            return await self._past.named(order_id, self._line)
        except StateFolderError as error:
            raise JournalError(str(error)) from error

    async def newest_past(
        self, *, limit: int, state: OrderState | None = None
    ) -> tuple[tuple[PastOrder, ...], int]:
        """Return such orders, the newest first, and how many there are; errors likewise."""
        try:
            return await self._past.newest(limit, state, self._line)
        except StateFolderError as error:
            raise JournalError(str(error)) from error

    async def proof(self, client_order_id: str) -> bytes | None:
        """Return the signed proof of an order's fills as JSON, None while there is none.

        Raises:
            StateFolderError: the audit record cannot be read.
        """
        recent = self._loop.proof_of(client_order_id)
        return recent or await self._line.do(lambda: self._proof_on_disk(client_order_id))

    def proof_at_once(self, client_order_id: str) -> bytes | None:
        """Return the same, and read the disk where it is asked for."""
        return self._loop.proof_of(client_order_id) or self._proof_on_disk(client_order_id)

    def _proof_on_disk(self, client_order_id: str) -> bytes | None:
        with AuditStore(self._database, checked=False) as store:
            row = store.order(client_order_id)
        if row is None or row.execution_proof is None:
            return None
        return row.execution_proof.encode()
