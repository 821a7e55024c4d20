"""A process that writes a journal until it dies, and prints what was acknowledged.

Run as ``python journal_child.py DATABASE RECORDS [LARGEST_FILE_BYTES]``. With a largest file size
the kernel refuses to let any file grow beyond it, as a full disk would.
"""

import asyncio
import resource
import signal
import sys
from pathlib import Path

from backstop.adapters.sqlite.journal import SqliteJournal
from backstop.core.journal_leaf import leaf_hash
from backstop.domain.audit import AuditRow, FillRow
from backstop.errors import JournalError
from backstop.ports import JournalBatch, JournalRecord

WRITERS = 8


def a_batch(seq: int) -> JournalBatch:
    order_id = f"order-{seq}"
    return JournalBatch(
        records=(
            JournalRecord(
                seq=seq, kind="event", monotonic_ns=seq, utc_us=seq, payload=b"x" * (seq % 3000)
            ),
        ),
        orders=(
            AuditRow(
                order_id=order_id,
                client_order_id=order_id,
                submitted_utc_us=seq,
                symbol="MES",
                side="BUY",
                quantity=1,
                price=None,
                status="SENT",
            ),
        ),
        fills=(
            FillRow(
                fill_id=f"fill-{seq}",
                order_id=order_id,
                fill_utc_us=seq,
                price="5000.25",
                quantity=1,
                commission="0",
            ),
        ),
    )


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def write(database: Path, last_seq: int) -> None:
    journal = SqliteJournal.open(database, account="42", epoch=0, leaf_hash=leaf_hash)

    async def writer() -> None:
        while (seq := journal.next_seq) <= last_seq:
            try:
                await journal.append(a_batch(seq))
            except JournalError as error:
                say(f"failed {seq} {error}")
                return
            say(f"durable {seq}")

    await asyncio.gather(*(writer() for _ in range(WRITERS)))
    try:
        await journal.close()
    except JournalError as error:
        say(f"lost {error}")


if __name__ == "__main__":
    if len(sys.argv) > 3:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        largest = int(sys.argv[3])
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    asyncio.run(write(Path(sys.argv[1]), int(sys.argv[2])))
