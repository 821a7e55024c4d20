"""Every alert has its page, and a page names only what there is."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.docs.markdown import REPO, blocks, name_of
from tests.docs.vocabulary import COMMAND, calls, command_faults, known_words

from backstop.core.contradictions import FREEZING
from backstop.core.trading_state import LatchKind
from backstop.domain.alert_code import AlertCode, runbook_page

RUNBOOK = REPO / "docs" / "runbook"
INDEX = RUNBOOK / "index.md"
RULES = REPO / "docs" / "reference" / "alert-rules.yml"
ALERTS = REPO / "docs" / "reference" / "alerts.md"
PAGES = sorted(path for path in RUNBOOK.glob("*.md") if path != INDEX)

SECTIONS = (
    "What is true now",
    "What the guard does",
    "What you do",
    "When it is over",
    "What it does not mean",
)

WORD = re.compile(r"`([A-Z][A-Z_]{2,})(?:=\w+)?`")
CALL = re.compile(r"`((?:GET|POST|PUT|PATCH|DELETE) /\S+)`")
ANOTHER_PROGRAM = ("curl ", "df ", "dmesg ", "ls ", "timedatectl")
"""What the pages also have a reader type."""


def rules() -> list[dict[str, object]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def typed_lines(page: Path) -> Iterator[str]:
    """Yield every line that a reader is to type: of blocks, and of commands within a sentence."""
    text = page.read_text(encoding="utf-8")
    for block in blocks(page):
        if block.language == "bash":
            yield from block.body.replace("\\\n", " ").splitlines()
    yield from (it.strip("`") for it in re.findall(r"`backstop [^`]+`", text))


def test_every_alert_and_every_rule_has_its_page_and_no_other_page_is_there() -> None:
    named = {runbook_page(code) for code in AlertCode} | {
        runbook_page(str(rule["alert"])) for rule in rules()
    }

    assert {name_of(page) for page in PAGES} == named


def test_every_rule_of_prometheus_says_where_its_page_is() -> None:
    for rule in rules():
        annotations = rule["annotations"]
        assert isinstance(annotations, dict)
        assert annotations["runbook_url"] == runbook_page(str(rule["alert"]))


def test_the_index_leads_to_every_page() -> None:
    linked = set(re.findall(r"\]\((\w+\.md)\)", INDEX.read_text(encoding="utf-8")))

    assert linked == {page.name for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_answers_the_same_questions_in_the_same_order(page: Path) -> None:
    text = page.read_text(encoding="utf-8")

    assert text.startswith(f"# {page.stem}\n")
    assert tuple(re.findall(r"^## (.+)$", text, re.MULTILINE)) == SECTIONS
    for section in text.split("\n## ")[1:]:
        assert section.partition("\n")[2].strip(), f"nothing stands under {section}"


@pytest.mark.parametrize("code", AlertCode)
def test_a_page_says_how_grave_its_alert_is(code: AlertCode) -> None:
    """The severities come from the code by way of the generated table."""
    row = re.search(
        rf"^\| \[`{code}`\]\S+ \| ([a-z ]+) \|", ALERTS.read_text("utf-8"), re.MULTILINE
    )
    assert row is not None
    first = (REPO / runbook_page(code)).read_text(encoding="utf-8").split("\n\n")[1]

    assert first.startswith(f"**{row[1].capitalize()}.** ")


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_a_page_says_how_grave_its_rule_is(rule: dict[str, object]) -> None:
    labels = rule["labels"]
    assert isinstance(labels, dict)
    page = REPO / runbook_page(str(rule["alert"]))

    assert f"**{labels['severity'].capitalize()}.** " in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("code", sorted(FREEZING))
def test_a_page_says_that_its_alert_freezes_entries(code: AlertCode) -> None:
    text = (REPO / runbook_page(code)).read_text(encoding="utf-8")

    assert f"frozen by the latch `{LatchKind.CONTRADICTION}`" in text
    assert "backstop resume" in text


@pytest.mark.parametrize("page", [INDEX, *PAGES], ids=lambda page: page.stem)
def test_a_page_names_only_what_there_is(page: Path) -> None:
    text = page.read_text(encoding="utf-8")

    assert set(WORD.findall(text)) - known_words() == set()
    assert set(CALL.findall(text)) - calls() == set()


@pytest.mark.parametrize("page", [INDEX, *PAGES], ids=lambda page: page.stem)
def test_a_page_has_only_commands_typed_that_exist(page: Path) -> None:
    faults = []
    for line in typed_lines(page):
        if COMMAND.match(line):
            faults += command_faults(line)
        elif not line.strip().startswith(("-H", *ANOTHER_PROGRAM)):
            faults.append(line)

    assert faults == []


def test_a_command_that_does_not_exist_is_found() -> None:
    assert command_faults("backstop explode") == ["backstop explode: no such verb"]
    assert command_faults("backstop alerts explode 7") == ["backstop alerts explode: no such verb"]
    assert command_faults("backstop halt --because x") == [
        "backstop halt --because: no such option"
    ]
    assert command_faults("DRY_RUN=0 EXECUTE=1 backstop liquidate --yes") == []
