"""Section K of the situations, one test for each line: the program, its files, and strangers.

The record comes from guards at a simulated venue; what is asked is asked of the command line, as an
auditor does it.
"""

import asyncio
import json
import shutil
import sqlite3
import subprocess
import sys
import threading
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.app.desk import Desk, Guard, a_desk, a_venue, until
from tests.app.record_story import (
    Story,
    ask,
    change,
    note,
    put_checkpoints,
    rehash,
    stolen_key,
    tell,
)

from backstop.domain.order import OrderState
from backstop.verifier import backstop_verify


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with pytest.MonkeyPatch.context() as environment:
        folder = tmp_path_factory.mktemp("story")
        environment.setenv("XDG_RUNTIME_DIR", str(folder))
        yield tell(folder)


@pytest.fixture
def state(story: Story, bench: Any) -> Path:
    """The record, in the state folder of the program under test."""
    return story.copy(bench.folder / "state")


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


# -- K -------------------------------------------------------------------------------------------


async def test_the_last_entries_are_removed(bench: Any, state: Path, story: Story) -> None:
    """K: "The last 3 entries are removed -> detected from the signed, externally stored head"."""
    change(state, "DELETE FROM Journal WHERE seq > ?", story.records - 3)

    told = await bench.call("audit", "verify", "--json")

    assert told.code == 1
    said = json.loads(told.out)
    assert said["verdict"] == "TAMPERED"
    assert said["finding"]["where"] == f"record {story.records - 2}"
    assert f"checkpoint of size {story.records}" in said["finding"]["what"]


@pytest.mark.parametrize(
    ("gone", "named"), [("audit.db", "audit.db"), ("checkpoints", "checkpoints")]
)
async def test_the_log_is_deleted(bench: Any, state: Path, gone: str, named: str) -> None:
    """K: "The log directory is deleted -> "anchored log missing" = FAIL, not "0 entries, OK""."""
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


async def test_a_third_party_verifies_an_order_offline(bench: Any, state: Path) -> None:
    """K: "Third party gets order X, its inclusion proof, the signed head and the public key"."""
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


async def test_value_bytes_are_altered(bench: Any, state: Path) -> None:
    """K: "Value bytes altered while metadata hashes stay valid -> detected"."""
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


async def test_a_key_is_rotated(bench: Any, state: Path, story: Story) -> None:
    """K: "Key rotation at entry 500 -> old entries verify with the old key, the rotation record
    is signed by both; a record signed by the retired key afterwards fails"."""
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


async def test_the_disk_is_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """K: "Slow disk (500 ms per write) -> intents still durable before send; order latency rises,
    order safety does not drop; back-pressure alarm"."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    async with a_venue() as venue:
        desk = a_desk(venue, tmp_path)
        async with desk.guard() as guard:
            with slow_disk(desk):
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


@contextmanager
def slow_disk(desk: Desk) -> Iterator[None]:
    """Hold the file's write lock for half a second, again and again: each commit waits as long."""
    over = threading.Event()

    def hold() -> None:
        path = desk.folder / "state" / "audit.db"
        with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as database:
            while not over.is_set():
                database.execute("BEGIN IMMEDIATE")
                over.wait(0.5)
                database.execute("COMMIT")
                over.wait(0.15)  # long enough for whoever waits to get its turn

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def intents(desk: Desk) -> int:
    """Return how many intents another process could read after a power cut."""
    with closing(sqlite3.connect(desk.folder / "state" / "audit.db", timeout=30)) as database:
        (count,) = database.execute(
            "SELECT count(*) FROM Journal WHERE kind = 'command' AND instr(payload, 'PlaceOrder')"
        ).fetchone()
    return int(count)


async def test_a_disputed_trade_is_reconstructed(bench: Any, state: Path) -> None:
    """K: "Reconstruct a disputed trade: from the log alone produce inputs (snapshot hash),
    decision, checks passed, venue payloads, fills, stop proofs, clock values -> complete"."""
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


# -- beyond the lines ----------------------------------------------------------------------------


async def test_a_record_after_a_kill_is_good_also_where_nothing_can_be_written(bench: Any) -> None:
    async with bench.venue(), bench.guard(DRY_RUN="0", EXECUTE="1") as guard:
        await guard.active()
        body = {
            "client_order_id": "entry-1",
            "symbol": "MES",
            "side": "BUY",
            "quantity": 1,
            "type": "MARKET",
            "stop_loss_price": "5000",
        }
        await guard.ask("POST", "/v1/orders", body)
        await guard.until("/v1/orders/entry-1", lambda said: said["state"] == "FILLED")
        await guard.kill()
    state, copy = bench.folder / "state", bench.folder / "copy"
    assert (state / "audit.db-wal").stat().st_size > 0
    shutil.copytree(state, copy, ignore=shutil.ignore_patterns("*-shm", "*.key"))
    copy.chmod(0o500)
    there = sorted(path.name for path in copy.iterdir())
    try:
        told = await bench.call("audit", "verify", "--json", BACKSTOP_STATE_DIR=str(copy))
    finally:
        copy.chmod(0o700)

    assert told.code == 0, told.out + told.err
    assert json.loads(told.out)["fills"] == 1
    assert set(there) <= {path.name for path in copy.iterdir()}


async def test_the_running_guard_gives_its_log_to_anybody_with_the_token(bench: Any) -> None:
    async with bench.venue(), bench.guard() as guard:
        await guard.active()
        _, head = await guard.ask("GET", "/v1/audit/checkpoint")
        _, page = await guard.ask("GET", "/v1/audit/records?from=2&limit=2")
        status, proof = await guard.ask("GET", "/v1/audit/proof/2")
        missing, _ = await guard.ask("GET", "/v1/audit/proof/999999")
        malformed, _ = await guard.ask("GET", "/v1/audit/records?from=x")

    assert head["origin"] == "backstop/31004502"
    assert head["note"].startswith(f"{head['origin']}\n{head['size']}\n")
    assert [record["seq"] for record in page["records"]] == [2, 3]
    assert page["next_from"] == 4
    assert (status, missing, malformed) == (200, 404, 422)
    key = backstop_verify.read_key(bench.folder / "state" / "keys" / "audit.pub")
    account, size, root = backstop_verify.read_checkpoint(proof["checkpoint"]["note"], key)
    siblings = [b64encode(bytes.fromhex(it)).decode() for it in proof["inclusion"]]
    backstop_verify.check_inclusion(
        {"record": proof["record"], "inclusion": siblings}, account=account, size=size, root=root
    )


@pytest.mark.usefixtures("state")
async def test_two_exports_are_the_same_bytes(bench: Any) -> None:
    first = await bench.call("audit", "export", "one")
    second = await bench.call("audit", "export", "two")
    again = await bench.call("audit", "export", "one")
    one, two = bench.folder / "one", bench.folder / "two"

    assert (first.code, second.code, again.code) == (0, 0, 0)
    assert {it.name for it in one.iterdir()} == {
        "FillAudit.csv",
        "OrderAudit.csv",
        "audit.pub",
        "checkpoint.txt",
        "journal-000001.jsonl",
        "manifest.json",
    }
    for path in one.iterdir():
        assert path.read_bytes() == (two / path.name).read_bytes()
        assert path.stat().st_mode & 0o222 == 0
    assert (one / "OrderAudit.csv").read_text().startswith("OrderId,ClientOrderId,SubmittedTime,")


@pytest.mark.usefixtures("state")
async def test_an_export_never_writes_over_another(bench: Any) -> None:
    await bench.call("audit", "export", "one")
    kept = (bench.folder / "one" / "manifest.json").read_bytes()
    rotated = await bench.call("audit", "rotate-key")
    refused = await bench.call("audit", "export", "one")

    assert rotated.code == 0, rotated.err
    assert refused.code == 1
    assert "is there with other content" in refused.err
    assert (bench.folder / "one" / "manifest.json").read_bytes() == kept


@pytest.mark.parametrize("damage", ["page", "newer"])
async def test_a_start_on_a_database_it_cannot_use_is_refused(
    bench: Any, state: Path, story: Story, damage: str
) -> None:
    database = state / "audit.db"
    if damage == "page":
        content = bytearray(database.read_bytes())
        content[4096:8192] = bytes(4096)
        database.write_bytes(content)
    else:
        change(state, "PRAGMA user_version = 99")
    before = {path: path.read_bytes() for path in files(state)}

    async with bench.venue():
        told = await bench.call("run", TOPSTEPX_ACCOUNT_ID=story.account)

    assert (told.code, told.out) == (2, "")
    assert "audit.db" in told.err
    assert "not changed" in told.err
    assert ("damaged" if damage == "page" else "newer Backstop") in told.err
    assert "Traceback" not in told.err
    # a token may be made before the record is looked at; of the record nothing is touched
    assert {path: path.read_bytes() for path in before} == before


async def test_a_start_on_a_record_that_was_cut_is_refused(
    bench: Any, state: Path, story: Story
) -> None:
    change(state, "DELETE FROM Journal WHERE seq > ?", story.records - 3)
    before = (state / "audit.db").read_bytes()

    async with bench.venue():
        told = await bench.call("run", TOPSTEPX_ACCOUNT_ID=story.account)

    assert (told.code, told.out) == (2, "")
    assert f"record {story.records - 2}: it is missing" in told.err
    assert "move the folder away" in told.err
    assert (state / "audit.db").read_bytes() == before


async def test_an_earlier_checkpoint_and_key_kept_elsewhere_are_believed(
    bench: Any, state: Path, story: Story
) -> None:
    """Whoever can change everything in the folder cannot change what somebody else has kept."""
    kept = bench.folder / "kept.txt"
    kept.write_text((state / "checkpoints" / "checkpoints.log").read_text(encoding="utf-8"))
    shutil.copy(state / "keys" / "audit.pub", bench.folder / "kept.pub")
    shutil.rmtree(state)
    shutil.copytree(story.older, state)

    believed = await bench.call("audit", "verify")
    told = await bench.call("audit", "verify", "--checkpoint", "kept.txt", "--key", "kept.pub")

    assert believed.code == 0
    assert told.code == 1


async def test_an_order_without_fills_has_nothing_to_prove(bench: Any, state: Path) -> None:
    nobody = await bench.call("audit", "prove", "nobody")
    change(state, "UPDATE OrderAudit SET ExecutionProof = NULL WHERE ClientOrderId = 'order-1'")
    unproven = await bench.call("audit", "prove", "order-1")

    assert (nobody.code, unproven.code) == (2, 1)
    assert "no execution proof" in unproven.err


async def test_a_folder_without_a_record_cannot_be_checked(bench: Any) -> None:
    told = await bench.call("audit", "verify")

    assert (told.code, told.out) == (2, "")
    assert "does not exist" in told.err
