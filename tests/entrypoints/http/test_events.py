"""The stream of the record: what is missing is told, and deaf readers hold up nobody."""

import asyncio
import json
import socket
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from backstop.adapters.sqlite.journal import SqliteJournal
from backstop.app.audit_reading import AuditReading
from backstop.core.journal_leaf import leaf_hash
from backstop.entrypoints.http import connections, event_routes, event_tail
from backstop.entrypoints.http.event_routes import STREAMS_MAX
from backstop.entrypoints.http.event_tail import EventTail
from backstop.entrypoints.http.server import api_server
from backstop.ports import JournalBatch, JournalRecord

PATIENCE_S = 20
RECORDS = 500
BUFFER_BYTES = 4096
LARGE = "x" * 2000


class CountedReading(AuditReading):
    """Counts how often the disk was read."""

    reads = 0

    def records(self, **place: Any) -> Any:
        self.reads += 1
        return super().records(**place)


class Recorded:
    """A record on disk, and the number of its newest one."""

    def __init__(self, database: Path, records: int) -> None:
        self.database = database
        self.audit = CountedReading(database, public_key=bytes(32), key_id="none")
        self.journal_seq = records


@pytest.fixture
async def record(tmp_path: Path) -> Recorded:
    database = tmp_path / "state" / "audit.db"
    journal = SqliteJournal.open(database, account="42", epoch=1, leaf_hash=leaf_hash)
    payload = json.dumps({"kind": "TimerFired", "large": LARGE}).encode()
    await journal.append(
        JournalBatch(
            records=tuple(
                JournalRecord(seq=seq, kind="event", monotonic_ns=seq, utc_us=seq, payload=payload)
                for seq in range(1, RECORDS + 1)
            )
        )
    )
    await journal.close()
    return Recorded(database, RECORDS)


def events(data: bytes) -> list[tuple[int, str, Any]]:
    """Return id, name and data of each event."""
    found = []
    for block in data.decode().strip().split("\n\n"):
        members = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((int(members["id"]), members["event"], json.loads(members["data"])))
    return found


async def told(tail: EventTail, next_seq: int) -> list[tuple[int, str, Any]]:
    """Return everything from ``next_seq`` on."""
    found = []
    while (page := await tail.after(next_seq)) is not None:
        found += events(page.data)
        next_seq = page.next_seq
    return found


# -- what is told --------------------------------------------------------------------------------


async def test_every_record_is_told_once_from_any_place_on(record: Recorded) -> None:
    tail = EventTail(record)

    for first in (1, 2, RECORDS - 1, RECORDS, 250):
        assert [seq for seq, _, _ in await told(tail, first)] == list(range(first, RECORDS + 1))
    assert await tail.after(RECORDS + 1) is None


async def test_records_that_the_disk_does_not_give_are_told_as_a_gap(record: Recorded) -> None:
    with closing(sqlite3.connect(record.database)) as database, database:
        database.execute("DELETE FROM Journal WHERE seq BETWEEN 11 AND 14")

    found = await told(EventTail(record), 9)

    assert [(seq, kind) for seq, kind, _ in found[:4]] == [
        (9, "TimerFired"),
        (10, "TimerFired"),
        (14, "gap"),
        (15, "TimerFired"),
    ]
    gap = found[2][2]
    assert (gap["seq"], gap["record"]) == (14, "gap")
    assert (gap["payload"]["first_seq"], gap["payload"]["last_seq"]) == (11, 14)


async def test_readers_that_are_up_to_date_share_one_reading(record: Recorded) -> None:
    tail = EventTail(record)

    pages = await asyncio.gather(*(tail.after(RECORDS - 5) for _ in range(30)))

    assert len({page.data for page in pages if page is not None}) == 1
    assert record.audit.reads == 1


async def test_what_is_kept_for_readers_is_bounded(
    record: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_tail, "SHARED_BYTES_MAX", 20 * len(LARGE))
    tail = EventTail(record)

    assert len(await told(tail, RECORDS - 100)) == 101
    before = record.audit.reads
    assert len(await told(tail, RECORDS)) == 1
    assert record.audit.reads == before
    assert len(await told(tail, RECORDS - 100)) == 101
    assert record.audit.reads > before


# -- readers -------------------------------------------------------------------------------------


@asynccontextmanager
async def streaming(desk: Any, record: Recorded) -> AsyncIterator[str]:
    """Serve ``record`` over connections that hold little."""
    guard = desk.guard()
    guard.audit, guard.journal_seq = record.audit, record.journal_seq
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        server = api_server(guard, listener, token=desk.TOKEN, loopback_only=True)
        serving = asyncio.create_task(server.serve())
        try:
            async with asyncio.timeout(PATIENCE_S):
                await server.started()
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.stop()
            async with asyncio.timeout(PATIENCE_S):
                await serving


async def deaf_reader(desk: Any, url: str) -> socket.socket:
    """Ask for the whole record, and once it begins to come take nothing of it."""
    host, _, port = url.removeprefix("http://").partition(":")
    loop = asyncio.get_running_loop()
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    line.setblocking(False)
    await loop.sock_connect(line, (host, int(port)))
    head = (
        "GET /v1/events?from=1 HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Bearer {desk.TOKEN}",
    )
    await loop.sock_sendall(line, "\r\n".join((*head, "", "")).encode())
    assert await loop.sock_recv(line, 1)
    return line


async def test_readers_that_never_read_hold_up_nobody(desk: Any, record: Recorded) -> None:
    headers = {"Authorization": f"Bearer {desk.TOKEN}"}
    async with (
        streaming(desk, record) as url,
        aiohttp.ClientSession(url, headers=headers) as session,
        AsyncExitStack() as lines,
    ):
        for _ in range(STREAMS_MAX):
            lines.enter_context(await deaf_reader(desk, url))
        async with session.get("/v1/status") as other, session.get("/v1/events") as one_more:
            statuses = other.status, one_more.status
            said = await one_more.json()

    assert statuses == (200, 503)
    assert said["error"]["code"] == "TOO_MANY_STREAMS"


async def test_a_reader_that_never_reads_is_cut_off_and_makes_room(
    desk: Any, record: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "LISTEN_LIMIT_S", 0.3)
    monkeypatch.setattr(event_routes, "STREAMS_MAX", 1)
    headers = {"Authorization": f"Bearer {desk.TOKEN}"}
    status, said = 0, b""
    async with (
        streaming(desk, record) as url,
        aiohttp.ClientSession(url, headers=headers) as session,
        asyncio.timeout(PATIENCE_S),
    ):
        with await deaf_reader(desk, url):
            while status != HTTPStatus.OK:
                async with session.get("/v1/events") as stream:
                    status, said = stream.status, await stream.content.readline()

    assert said == f"id: {RECORDS}\n".encode()


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [
        ({"Last-Event-ID": "x"}, "", 422),
        ({"Last-Event-ID": "-1"}, "", 422),
        ({"Last-Event-ID": "٣"}, "", 422),
        ({"Last-Event-ID": "9" * 5000}, "", 422),
        ({"Last-Event-ID": str(RECORDS + 1)}, "", 409),
        ({}, "?from=0", 422),
        ({}, "?from=one", 422),
        ({}, f"?from={RECORDS + 2}", 409),
    ],
)
async def test_a_place_that_is_none_is_refused(
    desk: Any, record: Recorded, headers: dict[str, str], query: str, status: int
) -> None:
    guard = desk.guard()
    guard.audit, guard.journal_seq = record.audit, record.journal_seq
    async with desk.calling(guard) as caller:
        answered, said = await caller.ask("GET", f"/v1/events{query}", headers=headers)

    assert (answered, set(said)) == (status, {"error"})


async def test_a_record_that_cannot_be_read_ends_the_stream_in_words(
    desk: Any, record: Recorded
) -> None:
    """And the reader comes back to where it was: nothing is skipped."""
    record.database.write_bytes(b"no database")
    guard = desk.guard()
    guard.audit, guard.journal_seq = record.audit, record.journal_seq
    async with (
        desk.calling(guard) as caller,
        caller.session.get(f"{caller.url}/v1/events?from=1") as stream,
    ):
        said = await stream.content.read()

    assert said.startswith(b"id: 0\n")
    assert b": the record cannot be read: " in said
    assert b"event: " not in said
