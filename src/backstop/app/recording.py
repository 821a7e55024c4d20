"""A step as the journal takes it: the fact, what followed from it, the rows, the signed proofs."""

from backstop.app.codec import encode
from backstop.app.proofs import ProofMaker, with_proof
from backstop.core.book import Book
from backstop.core.step import Step
from backstop.domain.events import Fact
from backstop.domain.record_kind import RecordKind
from backstop.ports import Clock, JournalBatch, JournalRecord

PROOFS_KEPT = 2_000
"""Newest proofs in memory; all of them stand in the audit table."""


class Recorder:
    """Makes batches, and keeps the newest proofs for whoever asks."""

    def __init__(self, *, clock: Clock, proofs: ProofMaker) -> None:
        self._clock = clock
        self._proofs = proofs
        self._kept: dict[str, bytes] = {}

    def batch(
        self, book: Book, fact: Fact, result: Step, *, seq: int, now_ns: int
    ) -> tuple[JournalBatch, dict[str, bytes]]:
        """Return what is to become durable together, and the proofs in it by client order id.

        Args:
            book: as it stands after the step.
            fact: what happened.
            result: what followed from it.
            seq: the number of the first record.
            now_ns: the monotonic time that the step was made at.
        """
        utc_us = self._clock.utc_us()
        payloads = [(RecordKind.EVENT, encode(fact))]
        payloads.extend((RecordKind.COMMAND, encode(command)) for command in result.commands)
        order_rows = result.order_rows
        proofs: dict[str, bytes] = {}
        for client_order_id in result.proofs_due:
            proof = self._proofs.make(book, client_order_id, journal_seq=seq)
            payloads.append((RecordKind.PROOF, proof))
            proofs[client_order_id] = proof
            order_rows = with_proof(book, order_rows, client_order_id, proof)
        records = tuple(
            [
                JournalRecord(
                    seq=number, kind=kind, monotonic_ns=now_ns, utc_us=utc_us, payload=payload
                )
                for number, (kind, payload) in enumerate(payloads, start=seq)
            ]
        )
        return JournalBatch(records=records, orders=order_rows, fills=result.fill_rows), proofs

    def keep(self, proofs: dict[str, bytes]) -> None:
        """Keep proofs whose records are on disk."""
        self._kept.update(proofs)
        while len(self._kept) > PROOFS_KEPT:
            del self._kept[next(iter(self._kept))]

    def proof_of(self, client_order_id: str) -> bytes | None:
        """Return the signed proof of an order that this process completed; None otherwise."""
        return self._kept.get(client_order_id)
