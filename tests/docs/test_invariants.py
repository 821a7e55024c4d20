"""The page of invariants says of each where it is enforced and which tests hold it."""

import re

import pytest
from tests.docs.markdown import REPO

PAGE = REPO / "docs" / "explanation" / "invariants.md"
SECTIONS = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
HOW_MANY = 15


def test_all_of_them_are_there_in_their_order() -> None:
    assert [int(section.partition(".")[0]) for section in SECTIONS] == [*range(1, HOW_MANY + 1)]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda it: it.partition("\n")[0])
def test_each_is_enforced_somewhere_and_held_by_tests(section: str) -> None:
    _, enforced, held = re.split(r"^- (?:Enforced in|Held by) ", section, flags=re.MULTILINE)

    for words, folder in ((enforced, "src/backstop/"), (held, "tests/")):
        targets = re.findall(r"\]\(\.\./\.\./(\S+?)\)", words)
        assert targets
        assert all(target.startswith(folder) for target in targets)
        assert all((REPO / target).is_file() for target in targets)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda it: it.partition("\n")[0])
def test_what_holds_it_has_tests(section: str) -> None:
    for target in re.findall(r"\]\(\.\./\.\./(tests/\S+?)\)", section):
        assert re.search(r"^(?:async )?def test_", (REPO / target).read_text("utf-8"), re.MULTILINE)
