"""The site has every page, in an order a reader can follow; the generator itself is not needed."""

import re
from pathlib import Path

import pytest
from tests.docs.markdown import REPO, blocks, name_of, pages
from tests.docs.vocabulary import COMMAND, command_faults

DOCS = REPO / "docs"
SITE = (REPO / "mkdocs.yml").read_text(encoding="utf-8")
NAVIGATION = SITE.partition("\nnav:\n")[2]
FROM_THE_ROOT = {"CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"}
ORDER = ("Tutorial", "How to", "Explanation", "Reference", "Runbook", "Decisions", "Project")
PAGES = pages()


def named_pages() -> list[str]:
    return re.findall(r"^ +- (?:[^\n]*: )?(\S+\.md)$", NAVIGATION, re.MULTILINE)


def test_every_page_is_in_the_navigation_once_and_nothing_else_is() -> None:
    there = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")} | FROM_THE_ROOT

    assert sorted(named_pages()) == sorted(there)


def test_the_navigation_goes_from_learning_to_looking_up() -> None:
    parts = re.findall(r"^  - ([\w ]+):$", NAVIGATION, re.MULTILINE)

    assert tuple(parts) == ORDER


def test_a_page_is_found_under_the_part_that_its_folder_says() -> None:
    folders = {"tutorial": "Tutorial", "howto": "How to", "explanation": "Explanation"} | {
        "reference": "Reference", "runbook": "Runbook", "decisions": "Decisions"
    }  # fmt: skip
    strayed = []
    part = ""
    for line in NAVIGATION.splitlines():
        if found := re.match(r"  - ([\w ]+):$", line):
            part = found[1]
        elif found := re.match(r" {6}- (?:.*: )?(\w+)/\S+\.md$", line):
            strayed += [line] if folders[found[1]] != part else []

    assert strayed == []


def test_the_site_asks_nobody_else() -> None:
    settings = SITE.partition("\nnav:\n")[0]

    assert "\n  font: false\n" in settings
    assert "\nplugins: [search]\n" in settings
    assert "://" not in settings


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_begins_with_its_one_title(page: Path) -> None:
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)

    assert text.startswith("# ")
    assert len(re.findall(r"^# ", text, re.MULTILINE)) == 1


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_belongs_to_a_list_is_indented_so_that_every_viewer_sees_it(page: Path) -> None:
    """The site's generator takes four spaces, other viewers up to four."""
    indents = re.findall(r"^( *)```", page.read_text(encoding="utf-8"), re.MULTILINE)

    assert {len(indent) % 4 for indent in indents} <= {0}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_command_that_no_test_types_exists_all_the_same(page: Path) -> None:
    lines = [
        line
        for block in blocks(page)
        if block.language == "bash"
        for line in block.body.splitlines()
        if COMMAND.match(line)
    ]

    assert [fault for line in lines for fault in command_faults(line)] == []
