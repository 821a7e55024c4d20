"""Markdown pages as tests need them: fenced blocks, links, headings."""

import re
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

REPO = Path(__file__).parents[2]

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w+)\n(?P<body>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


class Block(NamedTuple):
    """One fenced block of a page."""

    language: str
    body: str


class Command(NamedTuple):
    """One line that a reader types, and what the page says that it prints."""

    line: str
    printed: tuple[str, ...]


def pages() -> list[Path]:
    """Return every page of the repository."""
    return sorted([*REPO.glob("*.md"), *REPO.glob("docs/**/*.md")])


def name_of(page: Path) -> str:
    return page.relative_to(REPO).as_posix()


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [Block(it["language"], dedent(it["body"])) for it in _FENCE.finditer(text)]


def commands(block: Block) -> list[Command]:
    """Return the commands of a console block, each with the lines under it."""
    found: list[Command] = []
    for line in block.body.splitlines():
        if line.startswith("$ "):
            found.append(Command(line.removeprefix("$ "), ()))
        else:
            found[-1] = Command(found[-1].line, (*found[-1].printed, line))
    return found


def links(page: Path) -> list[str]:
    return [it["target"] for it in _LINK.finditer(page.read_text(encoding="utf-8"))]


def anchors(page: Path) -> set[str]:
    """Return the anchors that Markdown viewers give to a page's headings."""
    headings = _HEADING.findall(page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", it.lower()).replace(" ", "-") for it in headings}
