"""A record as a guard leaves it: two runs with a change of keys between, and copies on the way."""

import asyncio
import base64
import hashlib
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from tests.app.desk import Desk, a_desk, a_venue

from backstop.adapters.clock import SystemClock
from backstop.app.key_change import rotate_key


@dataclass(frozen=True)
class Story:
    """Folders that nobody changes; tests copy them.

    Attributes:
        folder: the whole record.
        older: as it was after the first run, before the change of keys.
        account: whose record it is.
        rotation_seq: the record of the change.
        records: how many there are in the end.
    """

    folder: Path
    older: Path
    account: str
    rotation_seq: int
    records: int

    def copy(self, to: Path) -> Path:
        shutil.copytree(self.folder, to)
        return to


def tell(folder: Path) -> Story:
    """Have guards trade at a simulated venue; needs a thread without a running event loop."""
    return asyncio.run(_tell(folder))


async def _tell(folder: Path) -> Story:
    async with a_venue() as venue:
        desk = a_desk(venue, folder)
        await _run(desk, "order-1", "order-2")
        state, older = folder / "state", folder / "older"
        shutil.copytree(state, older)
        change = await asyncio.to_thread(
            rotate_key, state, account=str(desk.account), clock=SystemClock()
        )
        await _run(desk, "order-3")
    return Story(
        folder=state,
        older=older,
        account=str(desk.account),
        rotation_seq=change.seq,
        records=ask(state, "SELECT count(*) FROM Journal")[0][0],
    )


async def _run(desk: Desk, *names: str) -> None:
    async with desk.guard() as guard:
        for name in names:
            await guard.enter(client_order_id=name)
        await guard.agrees()


# -- what somebody with write access can do ------------------------------------------------------


def change(folder: Path, statement: str, *arguments: Any) -> int:
    """Run one statement on the database, as any SQLite tool can; returns the rows it changed."""
    with closing(sqlite3.connect(folder / "audit.db")) as database:
        changed = database.execute(statement, arguments).rowcount
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return changed


def ask(folder: Path, statement: str, *arguments: Any) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / "audit.db")) as database:
        return database.execute(statement, arguments).fetchall()


def stolen_key(folder: Path) -> Ed25519PrivateKey:
    key = load_pem_private_key((folder / "keys" / "audit.key").read_bytes(), password=None)
    assert isinstance(key, Ed25519PrivateKey)
    return key


def rehash(folder: Path) -> list[bytes]:
    """Make every leaf hash fit its record again; returns the roots of all sizes from 0 on."""
    rows = ask(
        folder,
        "SELECT seq, epoch, monotonic_ns, utc_us, kind, account, payload FROM Journal ORDER BY seq",
    )
    leaves = [_leaf(row) for row in rows]
    for (seq, *_), leaf in zip(rows, leaves, strict=True):
        change(folder, "UPDATE Journal SET leaf_hash = ? WHERE seq = ?", leaf, seq)
    return [_root(leaves[:size]) for size in range(len(leaves) + 1)]


def _leaf(row: tuple[Any, ...]) -> bytes:
    data = b"backstop journal record v1\0" + b"".join(
        int(number).to_bytes(8, "big") for number in row[:4]
    )
    for part in (row[4].encode(), row[5].encode(), row[6]):
        data += len(part).to_bytes(4, "big") + part
    return hashlib.sha256(b"\0" + data).digest()


def _root(leaves: list[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return hashlib.sha256(b"\1" + _root(leaves[:split]) + _root(leaves[split:])).digest()


def note(account: str, size: int, root: bytes, key: Ed25519PrivateKey) -> str:
    """Sign a head as the log would; written from the text of the specification."""
    origin = f"backstop/{account}"
    text = f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"
    public = key.public_key().public_bytes_raw()
    known = hashlib.sha256(origin.encode() + b"\n\1" + public).digest()[:4]
    value = base64.b64encode(known + key.sign(text.encode())).decode()
    return f"{text}\n— {origin} {value}\n"


def put_head(folder: Path, text: str, size: int) -> None:
    change(folder, "UPDATE TreeHead SET size = ?, note = ?", size, text)


def put_checkpoints(folder: Path, edit: Callable[[list[str]], list[str]]) -> None:
    path = folder / "checkpoints" / "checkpoints.log"
    notes = [it + "\n" for it in path.read_text(encoding="utf-8").split("\n\n") if it.strip()]
    # Split at every empty line: text and signature of one note stand in two parts.
    whole = [
        f"{text}\n{signature}" for text, signature in zip(notes[::2], notes[1::2], strict=True)
    ]
    path.write_text("".join(f"{it}\n" for it in edit(whole)), encoding="utf-8")
