"""The verb ``doctor`` as a process: its lines, its exit codes, and that it leaves a guard alone."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from msgspec.structs import replace
from tests.app.desk import API_KEY, USER, a_desk, a_venue
from tests.entrypoints.program import A_SET_UP, Call

from backstop.adapters.lock import AccountLock
from backstop.domain.set_up import LoginLook
from backstop.simulator.fault_rules import FaultKind

CHECKS = (
    "clock", "disk", "lock", "login", "account", "user hub", "market hub", "data age", "gates",
)  # fmt: skip


def names(out: str) -> list[str]:
    """Return the checks that a report has a line on."""
    return [line[6:16].strip() for line in out.splitlines() if line[:6].strip() in STATUSES]


STATUSES = {"OK", "WARN", "FAIL"}


async def test_a_running_guard_is_asked_and_the_gateway_is_not(reading: Call, desk: Any) -> None:
    told = await reading(desk.guard(), "doctor")
    parsed = await reading(desk.guard(), "doctor", "--json")

    assert (told.code, told.err) == (0, "")
    assert told.out.startswith("A guard is running and was asked")
    assert names(told.out) == list(CHECKS)
    assert told.out.endswith("9 OK\n")
    body = json.loads(parsed.out)
    assert (body["guard"], body["status"]) == ("RUNNING", "OK")
    assert [it["check"] for it in body["checks"]] == list(CHECKS)
    assert set(body["checks"][0]) == {"check", "status", "value", "unit", "finding", "advice"}


async def test_a_check_that_failed_ends_with_1_and_says_what_to_do(
    reading: Call, desk: Any
) -> None:
    guard = desk.guard()
    guard.looked = replace(A_SET_UP, login=LoginLook(fault="the key is refused"))
    told = await reading(guard, "doctor")

    assert told.code == 1
    assert "FAIL  login       -               the key is refused\n" in told.out
    assert "      -> 'backstop credentials check'" in told.out
    assert told.out.endswith("8 OK, 1 FAIL\n")


async def test_unusable_settings_end_with_2_and_nothing_is_contacted(backstop: Call) -> None:
    wrong = await backstop("doctor", STALE_QUOTE_MS="soon")
    missing = await backstop("doctor")

    assert (wrong.code, wrong.out) == (2, "")
    assert "STALE_QUOTE_MS" in wrong.err
    assert (missing.code, missing.out) == (2, "")
    assert "TOPSTEPX_API_KEY" in missing.err


async def test_without_a_login_it_checks_what_is_on_this_machine(backstop: Call) -> None:
    told = await backstop("doctor", "--no-login")

    assert told.code == 0
    assert names(told.out) == list(CHECKS)
    assert told.out.count("not checked: --no-login was given") == 6


async def test_without_a_guard_it_looks_itself(backstop: Call, tmp_path: Path) -> None:
    async with a_venue(speed=1.0) as venue:
        desk = a_desk(venue, tmp_path)
        place = settings_of(desk)
        sound = await backstop("doctor", **place)
        parsed = await backstop("doctor", "--json", **place)
        wrong = await backstop("doctor", **(place | {"TOPSTEPX_API_KEY": "not-this-one"}))

        assert sound.code == 0
        assert names(sound.out) == list(CHECKS)
        assert json.loads(parsed.out)["guard"] == "NOT_RUNNING"
        assert wrong.code == 1
        assert "not-this-one" not in wrong.out + wrong.err
        assert desk.orders() == []


async def test_beside_a_guard_that_is_silent_there_is_no_login(
    backstop: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    async with a_venue(speed=1.0) as venue:
        desk = a_desk(venue, tmp_path)
        desk.mischief("any_call", FaultKind.RESET_BEFORE, count=None)
        host = urlsplit(venue.url).netloc
        with AccountLock(gateway_host=host, account=str(desk.account)):
            place = settings_of(desk) | {"XDG_RUNTIME_DIR": str(tmp_path)}
            told = await backstop("doctor", **place)
            parsed = await backstop("doctor", "--json", **place)

        assert told.code == 1
        assert "FAIL  lock        held" in told.out
        assert "does not answer" in told.out
        assert json.loads(parsed.out)["guard"] == "SILENT"
        assert desk.strikes(FaultKind.RESET_BEFORE) == 0


def settings_of(desk: Any) -> dict[str, str]:
    """Return the environment of a guard of the desk."""
    url = desk.venue.url
    return {
        "TOPSTEPX_API_URL": url,
        "TOPSTEPX_USER_HUB_URL": f"{url}/hubs/user",
        "TOPSTEPX_MARKET_HUB_URL": f"{url}/hubs/market",
        "TOPSTEPX_USERNAME": USER,
        "TOPSTEPX_API_KEY": API_KEY,
        "TOPSTEPX_ACCOUNT_ID": str(desk.account),
        "BACKSTOP_CALENDAR": "always-open",
        "BACKSTOP_LISTEN": "127.0.0.1:1",
        "STALE_QUOTE_MS": "30000",
    }
