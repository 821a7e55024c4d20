"""Who may use the gateway, by the command line: made, listed, revoked, and refused."""

import json
from pathlib import Path

import pytest
from tests.entrypoints.program import Call


async def test_a_bot_is_added_listed_and_removed_without_a_guard(
    backstop: Call, tmp_path: Path
) -> None:
    state = str(tmp_path / "bots-state")

    nobody = await backstop("bots", "list", BACKSTOP_STATE_DIR=state)
    added = await backstop(
        *("bots", "add", "alpha", "--instruments", "mes, MNQ", "--max-orders", "3"),
        BACKSTOP_STATE_DIR=state,
    )
    listed = await backstop("bots", "list", "--json", BACKSTOP_STATE_DIR=state)
    removed = await backstop("bots", "remove", "alpha", BACKSTOP_STATE_DIR=state)
    again = await backstop("bots", "remove", "alpha", BACKSTOP_STATE_DIR=state)

    assert nobody.out.startswith("no bot may use the gateway")
    assert (added.code, added.err) == (0, "")
    key = added.out.split("apiKey")[1].split()[0]
    (bot,) = json.loads(listed.out)["bots"]
    assert (bot["name"], bot["instruments"], bot["max_orders"]) == ("alpha", ["MES", "MNQ"], 3)
    assert key not in listed.out
    assert (removed.code, again.code) == (0, 2)
    assert (again.out, "no bot alpha" in again.err) == ("", True)


async def test_a_key_goes_into_a_new_file_or_no_bot_is_added(
    backstop: Call, tmp_path: Path
) -> None:
    state, file = str(tmp_path / "bots-state"), tmp_path / "alpha.key"
    words = ("bots", "add", "alpha", "--key-file", str(file))

    added = await backstop(*words, BACKSTOP_STATE_DIR=state)
    await backstop("bots", "remove", "alpha", BACKSTOP_STATE_DIR=state)
    refused = await backstop(*words, BACKSTOP_STATE_DIR=state)
    listed = await backstop("bots", "list", "--json", BACKSTOP_STATE_DIR=state)

    key = file.read_text(encoding="utf-8").strip()
    assert (added.code, refused.code) == (0, 2)
    assert key not in added.out
    assert file.stat().st_mode & 0o777 == 0o600
    assert "--key-file" in refused.err
    assert json.loads(listed.out)["bots"] == []


@pytest.mark.parametrize(
    "words",
    [("a/b",), ("alpha", "--max-quantity", "0"), ("alpha", "--instruments", "ES;NQ")],
)
async def test_what_cannot_be_a_bot_is_refused_and_leaves_nothing(
    backstop: Call, tmp_path: Path, words: tuple[str, ...]
) -> None:
    file = tmp_path / "alpha.key"

    refused = await backstop(
        *("bots", "add", *words, "--key-file", str(file)),
        BACKSTOP_STATE_DIR=str(tmp_path / "bots-state"),
    )

    assert refused.code == 2
    assert "Traceback" not in refused.err
    assert not file.exists()
