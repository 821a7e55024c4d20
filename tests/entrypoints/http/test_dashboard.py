"""The dashboard's files: open to anybody on this machine, to no other page, and without data."""

import gzip
import hashlib
import json
import re
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args

import aiohttp
import pytest

from backstop.core.correlation import CorrelationOrigin
from backstop.core.exposure import LimitName
from backstop.core.liquidation import LiquidationState
from backstop.core.positions import Knowledge
from backstop.core.protection_situation import Protection
from backstop.core.trading_state import Condition, LatchKind, TradingState
from backstop.domain.commands import Command
from backstop.domain.events import Fact
from backstop.entrypoints.http.dashboard_files import FOLDER, MEDIA_TYPES, dashboard_files

VENDOR = FOLDER / "vendor"
REPO = Path(__file__).parents[3]
PICTURE_BYTES_MAX = 300_000
COMPRESSED_BYTES_MAX = 100_000
"""What a phone on a slow link has to fetch before it shows anything."""

FOREIGN_ADDRESS = re.compile(r"""(?:https?:|(?<=["'(`]))//[\w.-]+""")


async def fetch(
    url: str, path: str, *, method: str = "GET", **headers: str
) -> tuple[int, "aiohttp.typedefs.LooseHeaders", bytes]:
    """Ask without a token; return status, headers, and the body as it travelled."""
    async with (
        aiohttp.ClientSession(auto_decompress=False, skip_auto_headers=("Accept-Encoding",)) as it,
        it.request(method, url + path, headers=headers) as answer,
    ):
        return answer.status, answer.headers, await answer.read()


async def test_the_page_and_all_its_files_need_no_token(desk: Any) -> None:
    async with desk.serving(desk.guard()) as url:
        for path, file in dashboard_files().items():
            status, headers, body = await fetch(url, path)

            assert (status, body) == (200, file.content), path
            assert headers["content-type"] == file.media_type


async def test_the_page_holds_nothing_of_the_guard(desk: Any) -> None:
    """Two guards that know different things send the same bytes."""
    async with desk.serving(desk.guard()) as url:
        of_a_guard = [(await fetch(url, path))[2] for path in dashboard_files()]
    async with desk.serving(desk.guard(active=False, dry_run=True)) as url:
        of_another = [(await fetch(url, path))[2] for path in dashboard_files()]

    assert of_a_guard == of_another
    assert not any(desk.TOKEN.encode() in content for content in of_a_guard)


async def test_files_that_are_none_of_the_page_need_the_token_and_are_not_there(desk: Any) -> None:
    strangers = (
        "/dashboard/",
        "/dashboard/nothing.js",
        "/dashboard/../app.py",
        "/dashboard/%2e%2e/app.py",
        "/dashboard/vendor/versions.json",
        "/index.html",
    )
    async with desk.serving(desk.guard()) as url, desk.calling(desk.guard()) as caller:
        for path in strangers:
            assert (await fetch(url, path))[0] == 401, path
            assert (await caller.ask("GET", path))[0] == 404, path


async def test_the_page_is_asked_for_under_a_name_of_this_machine_only(desk: Any) -> None:
    """A page of somewhere else that points its own name here (DNS rebinding) gets nothing."""
    async with desk.serving(desk.guard()) as url:
        for path in ("/", "/dashboard/app.js"):
            assert (await fetch(url, path, Host="evil.example"))[0] == 403
            assert (await fetch(url, path, Origin="https://evil.example"))[0] == 403
            assert (await fetch(url, path, Origin=url))[0] == 200


async def test_the_page_runs_and_asks_nothing_but_what_the_guard_serves(desk: Any) -> None:
    async with desk.serving(desk.guard()) as url:
        _, headers, _ = await fetch(url, "/")
    rules = dict(
        rule.strip().split(" ", 1) for rule in headers["content-security-policy"].split(";")
    )

    assert rules["default-src"] == "'none'"
    assert {rules[it] for it in ("script-src", "style-src", "img-src", "connect-src")} == {"'self'"}
    assert {rules[it] for it in ("base-uri", "form-action", "frame-ancestors")} == {"'none'"}
    assert rules["require-trusted-types-for"] == "'script'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"


async def test_a_browser_that_has_a_file_is_told_so_in_a_line(desk: Any) -> None:
    async with desk.serving(desk.guard()) as url:
        for path in ("/", "/dashboard/app.js"):
            _, headers, _ = await fetch(url, path)
            again = {"If-None-Match": f'W/"of-an-earlier-version", {headers["etag"]}'}
            status, _, body = await fetch(url, path, **again)
            changed, _, _ = await fetch(url, path, **{"If-None-Match": 'W/"another"'})

            assert headers["cache-control"] == "no-cache"
            assert (status, body) == (304, b"")
            assert changed == 200


async def test_a_file_travels_compressed_to_whoever_can_read_that(desk: Any) -> None:
    async with desk.serving(desk.guard()) as url:
        _, plain, body = await fetch(url, "/dashboard/app.js")
        _, packed, small = await fetch(url, "/dashboard/app.js", **{"Accept-Encoding": "br, gzip"})

    assert "content-encoding" not in plain
    assert packed["content-encoding"] == "gzip"
    assert gzip.decompress(small) == body
    assert plain["vary"] == packed["vary"] == "accept-encoding"


async def test_the_head_of_the_page_comes_without_its_body(desk: Any) -> None:
    async with desk.serving(desk.guard()) as url:
        status, headers, body = await fetch(url, "/", method="HEAD")
        refused, _, _ = await fetch(url, "/", method="POST")

    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) == len(dashboard_files()["/"].content)
    assert refused == 405


def test_all_of_the_page_is_small() -> None:
    loaded = [file for path, file in dashboard_files().items() if not path.endswith(".txt")]

    assert sum(len(file.compressed) for file in loaded) < COMPRESSED_BYTES_MAX


def test_a_change_of_a_file_changes_its_name_for_caches(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<p>one")
    before = dashboard_files(tmp_path)["/"]
    (tmp_path / "index.html").write_text("<p>two")

    assert dashboard_files(tmp_path)["/"].etag != before.etag


def test_only_files_of_a_known_kind_are_served(tmp_path: Path) -> None:
    for name in ("index.html", "app.js", "notes.md", ".hidden", "keys.json"):
        (tmp_path / name).write_text("")

    assert set(dashboard_files(tmp_path)) == {"/", "/dashboard/app.js"}


# -- what stands in the files ----------------------------------------------------------------------


def own_files() -> list[Path]:
    return [
        path
        for path in sorted(FOLDER.rglob("*"))
        if path.suffix in MEDIA_TYPES and VENDOR not in path.parents
    ]


@pytest.mark.parametrize("path", own_files(), ids=lambda it: it.name)
def test_nothing_comes_from_elsewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")

    assert FOREIGN_ADDRESS.findall(text) == []


@pytest.mark.parametrize("path", own_files(), ids=lambda it: it.name)
def test_no_file_makes_markup_or_code_of_text(path: Path) -> None:
    text = path.read_text(encoding="utf-8")

    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|Function\(", text
    )


def test_the_page_has_no_script_and_no_style_in_itself() -> None:
    page = (FOLDER / "index.html").read_text(encoding="utf-8")

    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=", page) == []


def test_every_file_that_the_page_names_is_there() -> None:
    served = dashboard_files()
    named: set[str] = set()
    for path in own_files():
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".html":
            named |= set(re.findall(r"(?:src|href)=\"(/[^\"#]*)\"", text))
        if path.suffix == ".js":
            imports = re.findall(r"from \"(\./[^\"]+|\.\./[^\"]+)\"", text)
            inside = {(path.parent / it).resolve().relative_to(FOLDER).as_posix() for it in imports}
            named |= {f"/dashboard/{it}" for it in inside}

    assert named
    assert named - served.keys() == set()
    scripts = {path for path in served if path.endswith((".js", ".mjs", ".css"))}
    assert scripts - named == set(), "nothing is served that nobody loads"


@pytest.mark.parametrize(
    "words",
    [TradingState, Condition, LatchKind, Protection, Knowledge, LimitName, CorrelationOrigin],
    ids=lambda it: it.__name__,
)
def test_every_word_of_the_guard_is_known_to_the_page(words: type[StrEnum]) -> None:
    script = (FOLDER / "words.js").read_text(encoding="utf-8")

    assert [it for it in words if not re.search(rf"^  {it}:", script, re.MULTILINE)] == []


def test_every_state_of_a_liquidation_is_a_step_or_shown_as_what_it_is() -> None:
    steps = (FOLDER / "words.js").read_text(encoding="utf-8").partition("STEPS = ")[2]
    view = (FOLDER / "views" / "liquidation.js").read_text(encoding="utf-8")

    assert [it for it in LiquidationState if f'"{it}"' not in steps + view] == []


def test_every_kind_of_record_has_a_sentence_or_counts_as_housekeeping() -> None:
    script = (FOLDER / "event_words.js").read_text(encoding="utf-8")
    kinds = {it.__name__ for it in (*get_args(Fact), *Command.__subclasses__())}
    known = set(re.findall(r"^  (?:\"(\w+)\"|(\w+)): ?", script, re.MULTILINE))

    assert len(kinds) > 50
    assert kinds - {first or second for first, second in known} - quiet_kinds(script) == set()


def quiet_kinds(script: str) -> set[str]:
    listed = script.partition("new Set([")[2].partition("])")[0]
    return set(re.findall(r"\"(\w+)\"", listed))


def test_every_library_is_the_released_one_and_has_its_licence() -> None:
    libraries = json.loads((VENDOR / "versions.json").read_text(encoding="utf-8"))
    listed = {"versions.json"}
    for library in libraries:
        assert {"name", "version", "home", "license"} <= library.keys()
        assert (VENDOR / library["license_file"]).read_text(encoding="utf-8").strip()
        listed |= {library["license_file"], *library["files"]}
        for name, digest in library["files"].items():
            assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest, name

    assert {path.name for path in VENDOR.iterdir()} == listed


def test_the_pictures_of_the_page_are_light() -> None:
    pictures = list((REPO / "docs" / "assets").glob("dashboard-*.png"))

    assert pictures
    assert [it.name for it in pictures if it.stat().st_size >= PICTURE_BYTES_MAX] == []
