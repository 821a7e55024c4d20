"""Section K: the record as an auditor asks for it, by the program, from its files, as a stranger.

The record comes from guards at a simulated venue.
"""

import asyncio
import json
import shutil
import sqlite3
import subprocess
import sys
from base64 import b64decode
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.scenarios.stage import slow_disk
from tests.app.desk import Desk, Guard, a_desk, a_venue, until
from tests.app.record_story import (
    Story,
    ask,
    change,
    note,
    put_checkpoints,
    rehash,
    stolen_key,
)

from backstop.domain.order import OrderState
from backstop.verifier import backstop_verify


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.scenario("K1")
async def test_the_last_entries_are_removed(bench: Any, state: Path, story: Story) -> None:
    change(state, "DELETE FROM Journal WHERE seq > ?", story.records - 3)

    told = await bench.call("audit", "verify", "--json")

    assert told.code == 1
    said = json.loads(told.out)
    assert said["verdict"] == "TAMPERED"
    assert said["finding"]["where"] == f"record {story.records - 2}"
    assert f"checkpoint of size {story.records}" in said["finding"]["what"]


@pytest.mark.scenario("K2")
@pytest.mark.parametrize(
    ("gone", "named"), [("audit.db", "audit.db"), ("checkpoints", "checkpoints")]
)
async def test_the_log_is_deleted(bench: Any, state: Path, gone: str, named: str) -> None:
    if gone == "audit.db":
        for path in files(state):
            if path.name.startswith("audit.db"):
                path.unlink()
    else:
        shutil.rmtree(state / gone)

    told = await bench.call("audit", "verify")

    assert told.code == 1
    assert told.out.startswith("TAMPERED: ")
    assert f"{named}: it is gone" in told.out


@pytest.mark.scenario("K3")
async def test_a_third_party_verifies_an_order_offline(bench: Any, state: Path) -> None:
    made = await bench.call("audit", "prove", "order-1", "--out", "order-1.json")
    elsewhere = bench.folder / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(bench.folder / "order-1.json", elsewhere)
    shutil.copy(state / "keys" / "audit.pub", elsewhere)
    shutil.copy(backstop_verify.__file__, elsewhere / "check.py")
    shutil.rmtree(state)

    checked = subprocess.run(
        [sys.executable, "-I", "check.py", "order-1.json", "--key", "audit.pub"],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert made.code == 0
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.startswith("GOOD: order order-1 BUY 1 MES is FILLED with 1 filled")


@pytest.mark.scenario("K4")
async def test_value_bytes_are_altered(bench: Any, state: Path) -> None:
    seq, payload = ask(
        state, "SELECT seq, payload FROM Journal WHERE instr(payload, 'TradeReported') LIMIT 1"
    )[0]
    change(
        state,
        "UPDATE Journal SET payload = ? WHERE seq = ?",
        payload.replace(b'"quantity":1', b'"quantity":2'),
        seq,
    )
    rehash(state)

    told = await bench.call("audit", "verify")

    assert told.code == 1
    assert "one of them is not what was signed" in told.out


@pytest.mark.scenario("K5")
async def test_a_key_is_rotated(bench: Any, state: Path, story: Story) -> None:
    good = await bench.call("audit", "verify", "--json")
    retired = stolen_key(story.older)
    roots = rehash(state)
    forged = note(story.account, story.records, roots[-1], retired)
    put_checkpoints(state, lambda notes: [*notes, forged])
    bad = await bench.call("audit", "verify")

    assert good.code == 0
    assert len(json.loads(good.out)["key_ids"]) == 2
    assert json.loads(good.out)["proofs"] == 3
    assert bad.code == 1
    assert f"signed size {story.records}" in bad.out


@pytest.mark.scenario("K6")
async def test_the_disk_is_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    async with a_venue() as venue:
        desk = a_desk(venue, tmp_path)
        async with desk.guard() as guard:
            with slow_disk(desk, held_s=0.5):
                request = guard.request(client_order_id="slow-1")
                sending = asyncio.create_task(guard.manager.submit_order(request))
                while not sending.done():
                    placed, intended = len(desk.orders()), await asyncio.to_thread(intents, desk)
                    assert placed <= intended
                    await asyncio.sleep(0)
                await sending
                await until(lambda: alarmed(guard), "an alarm about the disk")
                await guard.reaches("slow-1", OrderState.FILLED)
            await guard.agrees()

    assert [row["status"] for row in desk.orders()] == ["FILLED"]


def alarmed(guard: Guard) -> bool:
    return any(note.fields.get("part") == "journal speed" for note in guard.notes)


def intents(desk: Desk) -> int:
    """Return how many intents another process could read after a power cut."""
    with closing(sqlite3.connect(desk.folder / "state" / "audit.db", timeout=30)) as database:
        (count,) = database.execute(
            "SELECT count(*) FROM Journal WHERE kind = 'command' AND instr(payload, 'PlaceOrder')"
        ).fetchone()
    return int(count)


@pytest.mark.scenario("K7")
async def test_a_disputed_trade_is_reconstructed(bench: Any, state: Path) -> None:
    exported = await bench.call("audit", "export", "paper")
    shutil.rmtree(state)
    lines = (bench.folder / "paper" / "journal-000001.jsonl").read_text(encoding="utf-8")
    records = [json.loads(line) for line in lines.splitlines()]
    payloads = [json.loads(b64decode(record["payload_base64"])) for record in records]
    story = [
        (place, payload)
        for place, payload in enumerate(payloads)
        if "order-1" in json.dumps(payload) or records[place]["kind"] == "policy"
    ]
    kinds = [payload.get("kind", records[place]["kind"]) for place, payload in story]
    rules, request = story[0][1], next(it for _, it in story if it.get("kind") == "OrderRequested")
    proof = next(it["proof"] for _, it in story if "proof" in it)
    trade = next(it for it in payloads if it.get("kind") == "TradeReported")["trade"]
    stops = [
        it["order"]
        for it in payloads
        if it.get("kind") == "OrderReported" and it["order"].get("custom_tag", "").endswith("-SL")
    ]

    assert exported.code == 0
    # the checks it had to pass, what was known and asked, the decision, the venue's words, proof
    assert rules["max_order_quantity"] == 50
    assert request["reference"]["ask"]
    assert request["request"]["stop_loss_price"]
    order = ["policy", "OrderRequested", "PlaceOrder", "OrderDispatched", "PlaceAnswered", "proof"]
    assert [kind for kind in kinds if kind in order][: len(order)] == order
    assert trade["raw"]
    assert proof["fills"][0]["fill_id"] == str(trade["trade_id"])
    assert any(stop["status"] == "OPEN" for stop in stops)
    # clock values: elapsed time never goes back within one run, and each record has both
    first_run = [int(it["monotonic_ns"]) for it in records[: story[-1][0]]]
    assert first_run == sorted(first_run)
    assert all(record["utc_us"] > 0 for record in records)
