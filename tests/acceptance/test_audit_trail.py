"""The record as an auditor asks for it, beyond the situations of section K.

The record comes from guards at a simulated venue; what is asked is asked of the command line.
"""

import json
import shutil
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from tests.app.record_story import Story, change

from backstop.verifier import backstop_verify


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


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
        listed = await bench.call("audit", "orders", BACKSTOP_STATE_DIR=str(copy))
        shown = await bench.call("audit", "show", "entry-1", BACKSTOP_STATE_DIR=str(copy))
    finally:
        copy.chmod(0o700)

    assert told.code == 0, told.out + told.err
    assert json.loads(told.out)["fills"] == 1
    assert listed.code == 0, listed.err
    assert "entry-1" in listed.out
    assert shown.code == 0, shown.err
    assert "FillId" in shown.out
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


@pytest.mark.usefixtures("state")
async def test_an_export_goes_into_no_folder_that_is_used_for_something_else(bench: Any) -> None:
    (bench.folder / "home").mkdir()
    (bench.folder / "home" / "letter.txt").write_text("dear")
    refused = await bench.call("audit", "export", "home")

    assert refused.code == 1
    assert "letter.txt" in refused.err
    assert "new folder" in refused.err
    assert [it.name for it in (bench.folder / "home").iterdir()] == ["letter.txt"]


async def test_a_start_in_a_folder_that_cannot_be_looked_into_is_refused_once(bench: Any) -> None:
    async with bench.venue():
        told = await bench.call("run", BACKSTOP_STATE_DIR="x" * 300)

    assert (told.code, told.out) == (2, "")
    assert "File name too long" in told.err
    assert "Traceback" not in told.err


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
    assert ("backstop liquidate" in told.err) is (damage == "page")
    assert "Traceback" not in told.err
    # a token may be made before the record is looked at; of the record nothing is touched
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize(
    "changes",
    [
        ["PRAGMA user_version = 1"],
        ["PRAGMA user_version = 0"],
        ["DROP TABLE TreeHead", "PRAGMA user_version = 1"],
    ],
    ids=["lowered to 1", "lowered to 0", "layout 1"],
)
async def test_a_start_on_an_older_layout_is_refused_and_changes_nothing(
    bench: Any, state: Path, story: Story, changes: list[str]
) -> None:
    for statement in changes:
        change(state, statement)
    before = {path: path.read_bytes() for path in files(state)}

    async with bench.venue():
        told = await bench.call("run", TOPSTEPX_ACCOUNT_ID=story.account)

    assert (told.code, told.out) == (2, "")
    assert "of an older Backstop" in told.err
    assert "not changed" in told.err
    assert "Traceback" not in told.err
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
    assert "To take the account flat now: backstop liquidate" in told.err
    assert "move audit.db* (with its -wal) to another folder" in told.err
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


@pytest.mark.usefixtures("state")
@pytest.mark.parametrize("place", [".", "nowhere/proof.json"])
async def test_a_bundle_that_has_no_place_to_go_is_unusable_input(bench: Any, place: str) -> None:
    told = await bench.call("audit", "prove", "order-1", "--out", place)

    assert (told.code, told.out) == (2, "")
    assert f"{place} cannot be written" in told.err
    assert "Traceback" not in told.err


async def test_a_folder_without_a_record_cannot_be_checked(bench: Any) -> None:
    told = await bench.call("audit", "verify")

    assert (told.code, told.out) == (2, "")
    assert "does not exist" in told.err
