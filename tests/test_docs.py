"""The pages agree with the code and with each other, and the repository holds nothing strange."""

import os
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from aiohttp import web
from tests.docs.markdown import REPO, anchors, links, name_of, pages
from tests.test_layers import MAY_IMPORT

import backstop
from backstop.domain.denial import DenialCode
from backstop.simulator.fault_rules import FaultKind
from backstop.simulator.faults import FaultPlan
from backstop.simulator.faults_control import PREFIX, SHORTCUTS, FaultsControl
from backstop.simulator.process import Simulator, SimulatorConfig
from backstop.storm.plan import Weather

SOURCE = REPO / "src" / "backstop"
LARGEST_FILE_BYTES = 1024 * 1024
PAGES = pages()

PRACTICE_ACCOUNT = "export TOPSTEPX_API_KEY=practice TOPSTEPX_ACCOUNT_ID="
"""A page that says so leads to a guard in front of the simulator."""

STRANGE_WORDS = re.compile(
    r"""
    (?<![\w.])/(?:home|root|Users)/\w                                   # paths of one machine
    | //(?:pypi|npm|registry|proxy|mirror|artifact)[\w-]*\. | --(?:extra-)?index-url
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""What belongs to one machine or to its installation, and not to the project."""


def files() -> list[Path]:
    """Return every file of the repository: what git is not told to ignore."""
    ignored = (REPO / ".gitignore").read_text(encoding="utf-8").split()
    found: list[Path] = []
    for folder, names, inside in os.walk(REPO):
        names[:] = [name for name in names if name != ".git" and not _matches(f"{name}/", ignored)]
        found += [Path(folder) / name for name in inside if not _matches(name, ignored)]
    return sorted(found)


def _matches(name: str, patterns: list[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def test_the_generated_pages_say_what_the_code_says() -> None:
    checked = subprocess.run(
        [sys.executable, "tools/reference_pages.py", "--check"],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in links(page):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert broken == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    waiting = [REPO / "README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        paths = (link.partition("#")[0] for link in links(page) if "://" not in link)
        targets = {(page.parent / path).resolve() for path in paths if path.endswith(".md")}
        waiting += targets - reached

    assert [name_of(page) for page in PAGES if page not in reached] == []


def test_every_make_target_of_a_page_exists() -> None:
    makefile = (REPO / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = {
        (name_of(page), target)
        for page in PAGES
        for target in re.findall(
            r"(?:`|\$ )make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE
        )
    }

    assert {target for _, target in named} >= {"demo", "test"}
    assert {(page, target) for page, target in named if target not in targets} == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_practises_has_a_folder_apart_that_git_ignores(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    if PRACTICE_ACCOUNT not in text:
        return

    folders = set(re.findall(r"^\$ export .*\bBACKSTOP_STATE_DIR=(\S+)", text, re.MULTILINE))

    assert folders, "the account of practice would have the folder that a real one gets"
    ignored = (REPO / ".gitignore").read_text(encoding="utf-8").split()
    assert {f"{it}/" for it in folders} <= set(ignored)


def test_there_is_one_version() -> None:
    with (REPO / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]

    assert project["version"] == backstop.__version__
    assert f"## {backstop.__version__}" in (REPO / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_dependency_has_its_reason_and_is_used() -> None:
    with (REPO / "pyproject.toml").open("rb") as file:
        requirements = tomllib.load(file)["project"]["dependencies"]
    names = {re.split(r"[<>=]", requirement)[0] for requirement in requirements}
    page = (REPO / "docs" / "explanation" / "stack.md").read_text(encoding="utf-8")
    imports = "\n".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py"))

    assert set(re.findall(r"^\| `([\w-]+)` \|", page, re.MULTILINE)) == names
    data_only = {"tzdata"}
    unused = {
        name
        for name in names - data_only
        if not re.search(rf"^\s*(?:from|import) {name.replace('-', '_')}\b", imports, re.MULTILINE)
    }
    assert unused == set()


def test_a_refusal_code_is_called_unused_exactly_while_it_is() -> None:
    page = (REPO / "docs" / "reference" / "denial-codes.md").read_text(encoding="utf-8")
    called_unused = set(re.findall(r"`(\w+)` \| Not used yet", page))
    other_code = "\n".join(
        path.read_text(encoding="utf-8")
        for path in SOURCE.rglob("*.py")
        if path.name != "denial.py"
    )
    used = set(re.findall(r"DenialCode\.(\w+)", other_code))

    assert called_unused == {code.name for code in DenialCode} - used


def test_every_weather_of_a_seed_is_explained() -> None:
    text = (REPO / "docs" / "explanation" / "storm.md").read_text(encoding="utf-8")

    assert [it for it in Weather if f"(`{it}`)" not in text] == []


def test_the_control_port_is_described_call_by_call() -> None:
    simulator = Simulator(SimulatorConfig(user="trader", api_key="practice"))
    app = web.Application()
    FaultsControl(FaultPlan(now_us=lambda: 0), simulator.exchange).add_to(app)
    page = (REPO / "docs" / "reference" / "simulator.md").read_text(encoding="utf-8")
    described = set(re.findall(r"^\| `(\w+ /_simulator/[\w/-]+)` \|", page, re.MULTILINE))

    assert described == {
        f"{route.method} {route.resource.canonical}"
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    for path, kind in SHORTCUTS.items():
        assert re.search(rf"`POST {PREFIX}{path}` \|[^|]*\| `{FaultKind(kind)}` now", page)


def test_the_layers_of_the_contributors_page_are_those_that_are_enforced() -> None:
    page = (REPO / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (nothing|(?:`[\w.]+`(?:, )?)+) \|", page, re.MULTILINE)
    told = {layer: set(re.findall(r"`([\w.]+)`", names)) for layer, names in rows}

    assert told == {
        layer: {it for it in names if it != layer and not it.startswith("__")}
        for layer, names in MAY_IMPORT.items()
        if not layer.startswith("__")
    }


def test_nothing_in_the_repository_belongs_to_one_machine() -> None:
    found = []
    for path in files():
        if path == Path(__file__):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        lines = (text.count("\n", 0, it.start()) + 1 for it in STRANGE_WORDS.finditer(text))
        found += [f"{name_of(path)}:{line}" for line in lines]

    assert found == []


def test_every_file_is_small() -> None:
    large = [name_of(it) for it in files() if it.stat().st_size > LARGEST_FILE_BYTES]

    assert large == []
