"""The file .env.local as people and other tools write it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstop.config import env_file
from backstop.config.env_file import open_to_others, read_env_file
from backstop.errors import SetupError


def read(tmp_path: Path, text: str) -> dict[str, str]:
    path = tmp_path / ".env.local"
    path.write_text(text, encoding="utf-8")
    return read_env_file(path)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("NAME=value", "value"),
        ("export NAME=value", "value"),
        ("  NAME = value  ", "value"),
        ("NAME=", ""),
        ("NAME=a b", "a b"),
        ("NAME=a#b", "a#b"),
        ("NAME=a #b", "a"),
        ("NAME=# nothing", ""),
        ("NAME=a=b==", "a=b=="),
        ("NAME='a # \"b\" \\n'", 'a # "b" \\n'),
        ('NAME="a # b"  # why', "a # b"),
        (r'NAME="a\n\t\"b\" \\ \$x \q"', 'a\n\t"b" \\ $x \\q'),
        ("NAME=${OTHER}", "${OTHER}"),
        ("NAME=größe", "größe"),
    ],
)
def test_a_line_is_read_as_a_shell_would(tmp_path: Path, line: str, value: str) -> None:
    assert read(tmp_path, line) == {"NAME": value}


def test_comments_blank_lines_and_foreign_line_ends_do_not_matter(tmp_path: Path) -> None:
    text = "\ufeff# a comment\r\n\r\nA=1\r\n  # another\r\nB=2"

    assert read(tmp_path, text) == {"A": "1", "B": "2"}


def test_no_file_is_no_setting(tmp_path: Path) -> None:
    assert read_env_file(tmp_path / ".env.local") == {}


@pytest.mark.parametrize(
    "line", ["hunter2", "1NAME=hunter2", "A B=hunter2", "=hunter2", 'A="hunter2', "A='hunter2"]
)
def test_a_line_that_is_no_assignment_is_named_but_not_repeated(tmp_path: Path, line: str) -> None:
    """It may be a key that was pasted without its name."""
    with pytest.raises(SetupError, match=r"\.env\.local, line 2: ") as refused:
        read(tmp_path, f"GOOD=1\n{line}\n")

    assert "hunter2" not in str(refused.value)


def test_a_name_that_stands_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="DRY_RUN stands there twice, in lines 1 and 3"):
        read(tmp_path, "DRY_RUN=1\n#\nDRY_RUN=0\n")


def test_files_that_are_no_settings_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ".env.local"
    path.write_bytes(b"A=\xff\xfe")
    with pytest.raises(SetupError, match="is not UTF-8 text"):
        read_env_file(path)
    with pytest.raises(SetupError, match="cannot be read: Is a directory"):
        read_env_file(tmp_path)
    monkeypatch.setattr(env_file, "MAX_FILE_BYTES", 2)
    with pytest.raises(SetupError, match="has more than 2 bytes"):
        read_env_file(path)


def test_a_file_that_others_can_read_is_known(tmp_path: Path) -> None:
    path = tmp_path / ".env.local"
    assert not open_to_others(path)
    path.touch()
    path.chmod(0o644)
    assert open_to_others(path)
    path.chmod(0o600)
    assert not open_to_others(path)


@given(value=st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"])))
def test_any_value_in_single_quotes_comes_back(
    tmp_path_factory: pytest.TempPathFactory, value: str
) -> None:
    plain = value.replace("'", "")

    assert read(tmp_path_factory.mktemp("env"), f"NAME='{plain}'\n") == {"NAME": plain}
