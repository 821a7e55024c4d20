"""The same words on a terminal as in a pipe, coloured where wanted; and questions where due."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.app.desk import API_KEY, USER, a_desk, a_venue
from tests.entrypoints.on_a_terminal import Seen, on_a_terminal
from tests.entrypoints.program import Call


async def seen(
    desk: Any, guard: Any, folder: Path, *arguments: str, types: str = "", **settings: str
) -> Seen:
    """Run the program on a terminal in front of ``guard``."""
    async with desk.serving(guard) as url:
        place = {"BACKSTOP_LISTEN": url.removeprefix("http://"), "BACKSTOP_API_TOKEN": desk.TOKEN}
        return await asyncio.to_thread(
            on_a_terminal, *arguments, folder=folder, settings=place | settings, types=types
        )


@pytest.mark.parametrize("verb", ["status", "positions", "exposure", "bots", "doctor"])
async def test_a_terminal_shows_what_a_pipe_gets_with_colours_besides(
    reading: Call, desk: Any, tmp_path: Path, verb: str
) -> None:
    guard = desk.guard(dry_run=True)
    piped = await reading(guard, verb)
    shown = await seen(desk, guard, tmp_path, verb)

    assert shown.code == piped.code == 0
    assert shown.text == piped.out
    assert "\x1b" not in piped.out
    if verb in {"status", "doctor", "exposure"}:
        assert shown.is_coloured


@pytest.mark.parametrize("setting", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
async def test_who_wants_no_colours_gets_none(
    desk: Any, tmp_path: Path, setting: dict[str, str]
) -> None:
    shown = await seen(desk, desk.guard(), tmp_path, "status", **setting)

    assert shown.code == 0
    assert "\x1b" not in shown.screen


async def test_json_is_never_coloured(desk: Any, tmp_path: Path) -> None:
    shown = await seen(desk, desk.guard(), tmp_path, "status", "--json")

    assert (shown.code, shown.screen[0]) == (0, "{")
    assert "\x1b" not in shown.screen


async def test_an_error_is_one_sentence_on_a_terminal_too(tmp_path: Path) -> None:
    shown = on_a_terminal("status", folder=tmp_path, settings={})

    assert shown.code == 2
    assert shown.text.startswith("backstop: No guard has run with the state folder")
    assert shown.is_coloured


# -- what is irreversible is asked about -----------------------------------------------------------


async def test_a_liquidation_is_asked_about_and_no_is_the_default(
    desk: Any, tmp_path: Path
) -> None:
    guard = desk.guard()
    shown = await seen(desk, guard, tmp_path, "liquidate", types="\n")

    assert shown.code == 1
    assert "flat, and stop entries until somebody resumes? [y/N]:" in shown.text
    assert shown.text.endswith("Nothing was done.\n")
    assert guard.book.liquidations == {}


async def test_a_liquidation_begins_with_a_yes(tmp_path: Path) -> None:
    async with a_venue() as venue:
        account = a_desk(venue, tmp_path)
        shown = await asyncio.to_thread(
            on_a_terminal,
            "liquidate",
            folder=tmp_path,
            settings={
                "TOPSTEPX_API_URL": venue.url,
                "TOPSTEPX_USERNAME": USER,
                "TOPSTEPX_API_KEY": API_KEY,
                "TOPSTEPX_ACCOUNT_ID": str(account.account),
                "XDG_RUNTIME_DIR": str(tmp_path),
                "DRY_RUN": "0",
                "EXECUTE": "1",
            },
            types="y\n",
        )

    assert shown.code == 0
    assert "No guard answers." in shown.text
    assert "FLAT: two fresh reads show nothing left." in shown.text


async def test_where_nobody_can_be_asked_yes_has_to_be_said(backstop: Call, desk: Any) -> None:
    async with desk.serving(desk.guard()) as url:
        place = {"BACKSTOP_LISTEN": url.removeprefix("http://"), "BACKSTOP_API_TOKEN": desk.TOKEN}
        outcome = await backstop("liquidate", **place)

    assert (outcome.code, outcome.out) == (2, "")
    assert "add --yes" in outcome.err
