"""``backstop credentials``: where each secret is, whether it works, and how it gets there."""

import asyncio
import json
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.conftest import API_KEY, PROGRAM, USER, Bench, Outcome
from tests.surroundings import PLAIN

CANARY = "canary-5d1b77-key"
NAMES = [
    "TOPSTEPX_USERNAME",
    "TOPSTEPX_ACCOUNT_ID",
    "TOPSTEPX_API_KEY",
    "TOPSTEPX_JWT",
    "TOPSTEPX_EMERGENCY_API_KEY",
]
MISSING = {"TOPSTEPX_API_KEY": ""}


def typed(folder: Path, line: str, *arguments: str, **environment: str) -> Outcome:
    """Call the program with one line on its standard input."""
    done = subprocess.run(
        [PROGRAM, "credentials", *arguments],
        cwd=folder,
        env={**PLAIN, "HOME": str(folder), **environment},
        input=f"{line}\n",
        capture_output=True,
        text=True,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


async def checked(bench: Bench, *options: str, **settings: str) -> tuple[Outcome, dict[str, Any]]:
    done = await bench.call("credentials", "check", "--json", *options, **settings)
    said = json.loads(done.out)
    return done, {it["name"]: it for it in said["credentials"]} | {"logins": said["logins"]}


# -- check -----------------------------------------------------------------------------------------


async def test_check_says_which_source_answered_for_which_name(bench: Bench) -> None:
    path = bench.folder / ".env.local"
    path.write_text(f"# mine\nTOPSTEPX_API_KEY={CANARY}\n")
    path.chmod(0o600)

    done, said = await checked(bench, **MISSING)

    assert done.code == 0
    assert [name for name in NAMES if name in said] == NAMES
    assert said["TOPSTEPX_USERNAME"]["source"] == "environment"
    assert said["TOPSTEPX_API_KEY"]["place"] == f"{path}, line 2"
    assert said["TOPSTEPX_API_KEY"]["age_s"] >= 0
    assert not said["TOPSTEPX_JWT"]["found"]
    for out in (done, await bench.call("credentials", "check", **MISSING)):
        assert CANARY not in out.out + out.err
        assert USER not in out.out + out.err


async def test_check_names_what_is_missing_and_who_was_asked(bench: Bench) -> None:
    done, said = await checked(bench, **MISSING)

    assert done.code == 2
    assert done.err.startswith("backstop: TOPSTEPX_API_KEY: no source has it (command line: not ")
    assert said["TOPSTEPX_API_KEY"]["asked"][1] == {
        "source": "environment",
        "answer": "set, but blank",
    }


async def test_check_shows_when_a_token_ends(bench: Bench) -> None:
    ends_in_2100 = "eyJhbGciOiJub25lIn0.eyJleHAiOjQxMDI0NDQ3OTl9.c2ln"

    _, said = await checked(bench, TOPSTEPX_JWT=ends_in_2100)

    assert said["TOPSTEPX_JWT"]["expires"] == "2099-12-31T23:59:59+00:00"


async def test_what_has_expired_is_no_good_end(bench: Bench) -> None:
    ended_in_2001 = "eyJhbGciOiJub25lIn0.eyJleHAiOjEwMDAwMDAwMDB9.c2ln"

    done, said = await checked(bench, TOPSTEPX_JWT=ended_in_2001)

    assert done.code == 2
    assert said["TOPSTEPX_JWT"]["expires"] == "2001-09-09T01:46:40+00:00"
    assert done.err.startswith("backstop: TOPSTEPX_JWT: the value from environment has expired ")
    assert ended_in_2001 not in done.out + done.err


async def test_a_login_is_tried_with_every_key(bench: Bench) -> None:
    """The spare key is needed on the worst day: whether it works is known before."""
    async with bench.venue():
        done, said = await checked(bench, "--login", TOPSTEPX_EMERGENCY_API_KEY=CANARY)
        good, only = await checked(bench, "--login")

    assert (done.code, good.code) == (1, 0)
    assert [(it["credential"], it["accepted"]) for it in said["logins"]] == [
        ("TOPSTEPX_API_KEY", True),
        ("TOPSTEPX_EMERGENCY_API_KEY", False),
    ]
    assert "InvalidCredentials" in said["logins"][1]["words"]
    assert only["logins"][0]["words"].endswith("may trade")
    assert CANARY not in done.out + done.err
    assert API_KEY not in done.out + done.err


async def test_no_login_is_tried_beside_a_guard(bench: Bench) -> None:
    async with bench.venue(), bench.guard() as guard:
        await guard.active()

        done = await bench.call("credentials", "check", "--login")

    assert done.code == 2
    assert "another login may end its session" in done.err


# -- set -------------------------------------------------------------------------------------------


def test_a_value_comes_through_standard_input_and_is_kept_from_others(tmp_path: Path) -> None:
    path = tmp_path / ".env.local"
    path.write_text("# mine\nMAX_ORDER_QUANTITY=2\nTOPSTEPX_API_KEY=old # since May\n")
    path.chmod(0o644)

    done = typed(tmp_path, CANARY, "set", "TOPSTEPX_API_KEY")

    assert done == Outcome(0, f"TOPSTEPX_API_KEY is in {path}, mode 0600.\n", "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == f"# mine\nMAX_ORDER_QUANTITY=2\nTOPSTEPX_API_KEY={CANARY}\n"
    assert [it.name for it in tmp_path.iterdir()] == [".env.local"]


@pytest.mark.parametrize("value", ["a b#c", "it's", "\"'$x\\n", "größe", "a=b=="])
def test_every_value_comes_back_as_it_was_given(tmp_path: Path, value: str) -> None:
    typed(tmp_path, value, "set", "TOPSTEPX_USERNAME")

    done = typed(tmp_path, "again", "set", "TOPSTEPX_API_KEY")
    assert done.code == 0
    found = typed(tmp_path, "", "check", "--json")
    assert json.loads(found.out)["credentials"][0]["found"]


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("TOPSTEPX_API_KEY", "your_api_key_here", "is a placeholder. Allowed"),
        ("TOPSTEPX_API_KEY", "", "is blank"),
        ("TOPSTEPX_API_KEY", f'"{CANARY}"', "has quotation marks"),
        ("TOPSTEPX_ACCOUNT_ID", CANARY, "is not an account's number"),
        ("MAX_ORDER_QUANTITY", "3", "is no credential. Allowed: TOPSTEPX_USERNAME"),
    ],
)
def test_what_cannot_be_a_credential_is_not_stored(
    tmp_path: Path, name: str, value: str, fault: str
) -> None:
    done = typed(tmp_path, value, "set", name)

    assert done.code == 2
    assert done.err.startswith(f"backstop: {name}")
    assert fault.partition(".")[0] in done.err
    assert CANARY not in done.out + done.err
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_damaged_is_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / ".env.local"
    path.write_text(f"GOOD=1\n{CANARY}\n")

    done = typed(tmp_path, "a-key-of-mine", "set", "TOPSTEPX_API_KEY")

    assert done.code == 2
    assert ".env.local, line 2: not of the form NAME=value" in done.err
    assert CANARY not in done.err
    assert path.read_text() == f"GOOD=1\n{CANARY}\n"


def test_an_earlier_source_that_wins_is_named(tmp_path: Path) -> None:
    done = typed(tmp_path, CANARY, "set", "TOPSTEPX_API_KEY", TOPSTEPX_API_KEY="another-key")

    assert "environment has TOPSTEPX_API_KEY too and is asked first" in done.out


def test_a_machine_without_a_keyring_is_told_so(tmp_path: Path) -> None:
    done = typed(
        tmp_path,
        CANARY,
        *("set", "TOPSTEPX_API_KEY", "--to", "keyring"),
        BACKSTOP_KEYRING_SERVICE="backstop",
        PYTHON_KEYRING_BACKEND="keyring.backends.fail.Keyring",
    )

    assert done.code == 2
    assert done.err.startswith("backstop: OS keyring: ")
    assert not (tmp_path / ".env.local").exists()


async def test_the_value_is_in_no_process_listing(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        *("credentials", "set", "TOPSTEPX_API_KEY"),
        cwd=tmp_path,
        env={**PLAIN, "HOME": str(tmp_path)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(CANARY.encode())
    await process.stdin.drain()

    listing = [
        (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        for folder in (Path(f"/proc/{process.pid}"),)
    ]
    process.stdin.close()
    await process.communicate()

    assert process.returncode == 0
    assert CANARY.encode() not in b"".join(listing)
