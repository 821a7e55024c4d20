"""Every situation has its one test, and the page that says so is up to date."""

import importlib.util
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from tests.acceptance.scenarios.catalogue import LINES, SECTIONS, Line
from tests.docs.markdown import REPO

TOOL = REPO / "tools" / "scenario_table.py"
DATA = REPO / os.environ.get("BACKSTOP_TEST_DATA", "../shared/data")
TOLD = DATA / ".." / "reference" / "scenarios.md"
"""The situations as they were told to the project, where they lie beside it."""

SITUATION = Line(situation="it rains", outcome="it is wet")


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scenario_table", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_tests(folder: Path, *ids: str) -> Path:
    """Write a folder ``tests`` whose tests name ``ids``."""
    (folder / "tests").mkdir()
    tests = (f'@pytest.mark.scenario("{it}")\ndef test_{it}() -> None: ...\n' for it in ids)
    (folder / "tests" / "test_it.py").write_text("import pytest\n" + "".join(tests))
    return folder / "tests"


def test_the_page_says_what_the_tests_play() -> None:
    checked = subprocess.run(
        [sys.executable, TOOL, "--check"], cwd=REPO, capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_line_has_its_one_test_and_every_mark_its_line(tool: ModuleType) -> None:
    assert tool.faults(tool.played(), LINES) == []


def test_every_line_belongs_to_a_section_and_their_numbers_have_no_gaps() -> None:
    for letter in SECTIONS:
        numbers = [int(it[1:]) for it in LINES if it[0] == letter]
        assert numbers == list(range(1, len(numbers) + 1))
        assert numbers
    assert {it[0] for it in LINES} == set(SECTIONS)


@pytest.mark.parametrize(
    ("ids", "fault"),
    [
        ((), "R1 has 0 tests instead of 1"),
        (("R1", "R1"), "R1 has 2 tests instead of 1"),
        (("R1", "X7"), "tests/test_it.py: test_X7 names X7, which is no line"),
    ],
)
def test_a_missing_a_doubled_and_a_stray_test_are_found(
    tool: ModuleType, tmp_path: Path, ids: tuple[str, ...], fault: str
) -> None:
    assert tool.faults(tool.played(write_tests(tmp_path, *ids)), {"R1": SITUATION}) == [fault]


def test_a_line_that_cannot_happen_here_has_a_reason_and_no_test(
    tool: ModuleType, tmp_path: Path
) -> None:
    lines = {"R1": SITUATION._replace(not_applicable="no roof")}
    there = tool.played(write_tests(tmp_path, "R1"))

    assert tool.faults((), lines) == []
    assert tool.faults(there, lines) == ["R1 has 1 tests instead of 0"]
    assert "no roof" in tool._row("R1", lines["R1"], None)


def told_lines() -> list[tuple[str, int]]:
    """Return how many situations each section was told to have; nothing where they do not lie."""
    if not TOLD.is_file():
        return []
    sections = re.split(r"^## (?=[A-Z]\. )", TOLD.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [(it[0], len(re.findall(r"^- ", it, re.MULTILINE))) for it in sections[1:]]


@pytest.mark.parametrize(
    ("letter", "count"), [told for told in told_lines() if told[0] in SECTIONS]
)
def test_no_situation_that_was_told_is_left_out(letter: str, count: int) -> None:
    assert Counter(it[0] for it in LINES)[letter] == count
