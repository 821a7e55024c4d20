"""A state folder on a file system of a few megabytes that becomes full while a position is open.

The kernel refuses for real, and every file: a memory file system in a mount namespace that ends
with the processes in it. Where this user may not have one, nothing of this is played; the stories
with a limit on the size of files are played everywhere.
"""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.conftest import PATIENCE_S, Bench, RunningGuard, Venue
from tests.app.desk import audited

from backstop.app.audit_verification import verify_record

SENDING = {"DRY_RUN": "0", "EXECUTE": "1"}
SIZE = "3m"
"""Less than the log of the record would like to have as room, so it grows with each commit."""

NAMESPACES = (("unshare", "--mount"), ("unshare", "--user", "--map-root-user", "--mount"))
ENTRY = {
    "symbol": "MES",
    "side": "BUY",
    "quantity": 2,
    "type": "MARKET",
    "stop_loss_price": "5000",
}
EXIT = {"symbol": "MES", "side": "SELL", "quantity": 2, "type": "MARKET"}
ASKED = (
    "SELECT json_extract(CAST(payload AS TEXT), '$.request.client_order_id') FROM Journal"
    " WHERE json_extract(CAST(payload AS TEXT), '$.kind') = 'OrderRequested' ORDER BY seq"
)


def on_a_small_disk(folder: str, *namespace: str) -> tuple[str, ...]:
    """Return what runs a command with a small file system at ``folder``."""
    mount = f'mount -t tmpfs -o size={SIZE},mode=700 small "{folder}" && exec "$@"'
    return (*namespace, "sh", "-c", mount, "sh")


def _possible(namespace: tuple[str, ...]) -> bool:
    try:
        tried = subprocess.run(
            [*on_a_small_disk("/mnt", *namespace), "true"], capture_output=True, check=False
        )
    except OSError:
        return False
    return tried.returncode == 0


POSSIBLE = [namespace for namespace in NAMESPACES if _possible(namespace)][:1]


@pytest.fixture
async def venue(bench: Bench) -> AsyncIterator[Venue]:
    async with bench.venue() as venue:
        yield venue


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Leave not one byte of room in ``folder``, for as long as it lasts."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass  # that was the last byte
    try:
        yield
    finally:
        ballast.unlink()


async def approved(guard: RunningGuard, order: dict[str, Any]) -> tuple[int, Any]:
    """Send an order once nothing speaks against it any more."""
    what_if = {key: value for key, value in order.items() if key != "client_order_id"}
    async with asyncio.timeout(30):
        while (await guard.ask("POST", "/v1/orders/validate", what_if))[1]["denials"]:  # noqa: ASYNC110 - another process decides
            await asyncio.sleep(0.02)
    return await guard.ask("POST", "/v1/orders", order)


@pytest.mark.parametrize("namespace", POSSIBLE, ids=lambda it: it[1])
async def test_no_room_for_any_file_stops_entries_at_once_and_no_exit(
    bench: Bench, venue: Venue, namespace: tuple[str, ...]
) -> None:
    state = bench.folder / "state"
    state.mkdir(mode=0o700)
    bench.within = on_a_small_disk(str(state), *namespace)
    async with bench.guard(**SENDING) as guard:
        await guard.active()
        await guard.ask("POST", "/v1/orders", ENTRY | {"client_order_id": "held"})
        await guard.until("/v1/orders/held", lambda said: said["state"] == "FILLED")
        (process_id,) = guard.processes("guard")
        inside = Path(f"/proc/{process_id}/root{state}")
        assert os.statvfs(inside).f_blocks * os.statvfs(inside).f_frsize < 4 * 2**20

        with full(inside):
            status, refused = await guard.ask(
                "POST", "/v1/orders", ENTRY | {"client_order_id": "more", "quantity": 1}
            )
            assert status in {422, 503}, refused
            await guard.until(
                "/v1/status", lambda said: "JOURNAL_FAILED" in json.dumps(said["reasons"])
            )
            status, said = await guard.ask("POST", "/v1/orders", EXIT | {"client_order_id": "exit"})
            assert status == 201, said
            await guard.until("/v1/orders/exit", lambda said: said["state"] == "FILLED")
            assert (await venue.truth())["positions"] == []
            before = asked(copied(inside, bench.folder / "while-it-was-full"))

        await guard.active()
        status, said = await approved(guard, ENTRY | {"client_order_id": "later"})
        assert status == 201, said
        await guard.until("/v1/orders/later", lambda said: said["state"] == "FILLED")
        truth = await venue.truth()
        async with asyncio.timeout(PATIENCE_S):
            for number in count():
                after = copied(inside, bench.folder / f"after-{number}")
                if len(audited(after, "SELECT FillId FROM FillAudit")) == len(truth["trades"]):
                    break
                await asyncio.sleep(0.1)
        outages = verify_record(after).outages

    assert before == ["held"]
    assert asked(after) == ["held", "more", "exit", "later"]
    # A record that is small enough still finds room between two that do not.
    assert outages
    assert [outage.lost for outage in outages] == [0] * len(outages)
    placed = [row["customTag"] for row in truth["orders"] if row["leg"] is None]
    assert len(placed) == len(set(placed)) == 3


def copied(inside: Path, to: Path) -> Path:
    """Copy the folder out of the namespace: SQLite follows the way there to the wrong place."""
    shutil.copytree(inside, to, ignore=shutil.ignore_patterns("*-shm", "ballast"))
    return to


def asked(state_folder: Path) -> list[str]:
    """Return the orders that were asked for, in the order of the record."""
    return [name for (name,) in audited(state_folder, ASKED)]
