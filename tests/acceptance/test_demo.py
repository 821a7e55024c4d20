"""The main job as its users run it: the demo's story, on generated and on recorded prices."""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.surroundings import PLAIN

PROGRAM = Path(sys.executable).with_name("backstop")
ROOT = Path(__file__).parents[2]
BARS = (
    ROOT / os.environ.get("BACKSTOP_TEST_DATA", "../shared/data") / "market" / "m1_es_nq_ym_2026-02"
)
FILES = [BARS / "ES.csv.gz", BARS / "NQ.csv.gz"]

CALM_DAY, STRESS_DAY = "2026-02-11", "2026-02-06"  # ES within 1.2 %, and within 3.2 %
RECORDED = [CALM_DAY, STRESS_DAY] if all(file.is_file() for file in FILES) else []

PROMISED_S = 60
"""The story ends by then; the machine may be busy with other tests, so the process gets longer."""

PATIENCE_S = 100

MEMBERS = {
    "orders", "fills", "verified", "breaches", "proofs_verified", "refused", "positions",
    "audit_rows", "seconds", "data", "faults_found",
}  # fmt: skip


async def demo(folder: Path, *arguments: object) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        PROGRAM, "demo", *map(str, arguments),
        cwd=folder,
        env={**PLAIN, "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(PATIENCE_S):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, out.decode(), err.decode()


def summary_of(out: str) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(out.splitlines()[-1])
    return said


def assert_proven(said: dict[str, Any]) -> None:
    assert set(said) == MEMBERS
    assert said["faults_found"] == []
    assert said["orders"] >= 12
    assert said["verified"] == said["orders"] >= said["breaches"]
    assert said["fills"] >= said["proofs_verified"] > 0
    assert said["refused"] >= 1
    assert set(said["positions"].values()) == {0}
    assert said["audit_rows"] >= said["orders"] + said["fills"]
    assert 0 < said["seconds"] <= PROMISED_S


async def test_the_story_ends_flat_with_every_order_verified_and_every_proof_good(
    tmp_path: Path,
) -> None:
    code, out, err = await demo(tmp_path, "--once", "--json")

    assert code == 0, err[-2000:]
    assert_proven(summary_of(out))
    assert "generated" in summary_of(out)["data"]
    for told in ("lose_response", "duplicate_event", "hub_reset", "PARTIALLY_FILLED"):
        assert told in err


@pytest.mark.parametrize("day", RECORDED)
async def test_the_story_holds_on_recorded_prices(tmp_path: Path, day: str) -> None:
    data: Sequence[object] = ("--data", FILES[0], "--data", FILES[1], "--day", day)
    code, out, err = await demo(tmp_path, "--once", "--json", *data)

    assert code == 0, err[-2000:]
    assert_proven(summary_of(out))
    assert day in summary_of(out)["data"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--data", "nowhere.csv"), "nowhere.csv"),
        (("--day", "2026-02-11"), "--data"),
    ],
)
async def test_unusable_data_is_named(
    tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    code, out, err = await demo(tmp_path, "--once", *arguments)

    assert (code, out) == (2, "")
    assert told in err
    assert "Traceback" not in err
