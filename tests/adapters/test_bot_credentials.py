"""The file of bots: keys that nobody can read again, and what is refused."""

import subprocess
import sys
from pathlib import Path

import pytest

from backstop.adapters import file_lock
from backstop.adapters.bot_credentials import BOTS_MAX, BotCredentials, is_key_of
from backstop.domain.bot import BotLimits
from backstop.errors import SetupError, StateFolderError

LIMITS = BotLimits(quantity_max=2, symbols=("MES",))


def test_a_key_is_shown_once_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    credentials = BotCredentials(tmp_path / "state")

    key = credentials.add("alpha", LIMITS, utc_s=7)

    (bot,) = credentials.read()
    assert (bot.name, bot.made_utc_s, bot.limits) == ("alpha", 7, LIMITS)
    assert is_key_of(bot, key)
    assert not is_key_of(bot, key + "x")
    file = tmp_path / "state" / "bots.json"
    assert key not in file.read_text(encoding="utf-8")
    assert file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    names = sorted(it.name for it in (tmp_path / "state").iterdir())
    assert names == ["bots.json", "bots.lock"]


def test_a_name_is_one_bot_whatever_its_case_until_it_is_removed(tmp_path: Path) -> None:
    credentials = BotCredentials(tmp_path)
    first = credentials.add("Alpha", LIMITS, utc_s=7)
    before = credentials.stamp

    with pytest.raises(SetupError, match="already"):
        credentials.add("alpha", LIMITS, utc_s=8)
    assert credentials.remove("ALPHA") is True
    assert credentials.remove("Alpha") is False
    second = credentials.add("alpha", LIMITS, utc_s=9)

    assert credentials.stamp != before
    (bot,) = credentials.read()
    assert is_key_of(bot, second)
    assert not is_key_of(bot, first)


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", "é", "a" * 33, "a/b", "a\n"])
def test_what_can_be_no_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SetupError, match="no name of a bot"):
        BotCredentials(tmp_path).add(name, LIMITS, utc_s=7)

    assert BotCredentials(tmp_path).read() == ()


def test_there_is_a_limit_to_bots(tmp_path: Path) -> None:
    credentials = BotCredentials(tmp_path)
    for number in range(BOTS_MAX):
        credentials.add(f"bot-{number}", LIMITS, utc_s=7)

    with pytest.raises(SetupError, match=str(BOTS_MAX)):
        credentials.add("one-more", LIMITS, utc_s=7)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"bots": [{"name": 7}]}', b"\xff"])
def test_a_file_that_is_none_is_said_so_and_left_alone(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "bots.json").write_bytes(text)
    credentials = BotCredentials(tmp_path)

    with pytest.raises(StateFolderError, match="No bot can log in"):
        credentials.read()
    with pytest.raises(StateFolderError):
        credentials.add("alpha", LIMITS, utc_s=7)

    assert (tmp_path / "bots.json").read_bytes() == text


ADD_MANY = """
import sys
from pathlib import Path
from backstop.adapters.bot_credentials import BotCredentials
from backstop.domain.bot import BotLimits
sys.stdin.readline()
for number in range(12):
    BotCredentials(Path(sys.argv[1])).add(f"{sys.argv[2]}-{number}", BotLimits(), utc_s=0)
"""


def test_no_bot_is_lost_when_two_programs_add_them_at_once(tmp_path: Path) -> None:
    adders = [
        subprocess.Popen(
            [sys.executable, "-c", ADD_MANY, str(tmp_path), name], stdin=subprocess.PIPE
        )
        for name in ("left", "right")
    ]
    for adder in adders:
        assert adder.stdin is not None
        adder.stdin.write(b"go\n")
        adder.stdin.flush()
    for adder in adders:
        with adder:
            assert adder.wait(30) == 0

    assert len(BotCredentials(tmp_path).read()) == 24


def test_a_change_that_another_program_holds_up_is_refused_and_changes_nothing(
    tmp_path: Path,
) -> None:
    credentials = BotCredentials(tmp_path)
    credentials.add("alpha", LIMITS, utc_s=7)
    with (
        file_lock.one_at_a_time(tmp_path / "bots.lock"),
        pytest.raises(StateFolderError, match=r"Another program has held .*bots.lock for 0.05 s"),
        file_lock.one_at_a_time(tmp_path / "bots.lock", wait_s=0.05),
    ):
        pass

    assert credentials.remove("alpha")
