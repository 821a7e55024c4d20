"""What every test run does: what takes long begins early, and recorded data is accounted for."""

import asyncio
import gc
import os
from collections import Counter
from collections.abc import Generator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is, and nothing about what is tested.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

ROOT = Path(__file__).parents[1]
SETTING = "BACKSTOP_TEST_DATA"
DATA = ROOT / os.environ.get(SETTING, "../shared/data")


def pytest_configure() -> None:
    """Say that there is no event loop yet: whoever asks for the running one makes none.

    One that nobody asked for would be closed by nobody, and found in the middle of some test.
    """
    asyncio.set_event_loop(None)


@cache
def _reads_recorded_data(file: str) -> bool:
    return SETTING in (ROOT / file).read_text(encoding="utf-8")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the files with data tests that ran, or say that there was no data."""
    files = (
        report.nodeid.partition("::")[0] for report in terminalreporter.stats.get("passed", ())
    )
    ran = Counter(file for file in files if file.endswith(".py") and _reads_recorded_data(file))
    terminalreporter.section("recorded data")
    if not DATA.is_dir():
        terminalreporter.line(f"none at {DATA} ({SETTING}): such tests worked on generated input")
        return
    terminalreporter.line(f"{DATA} ({SETTING})")
    for file, count in sorted(ran.items()):
        terminalreporter.line(f"{file}: {count} passed")


LONGEST_FIRST = (
    "tests/tools/",
    "tests/docs/",
    "tests/acceptance/",
    "tests/storm/",
    "tests/entrypoints/",
    "tests/app/",
)
"""What takes long begins early: at the end of a run every worker should be busy."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slow folders first; inside each the order stays."""

    def rank(item: pytest.Item) -> int:
        places = enumerate(LONGEST_FIRST)
        return next(
            (place for place, folder in places if item.nodeid.startswith(folder)),
            len(LONGEST_FIRST),
        )

    items.sort(key=rank)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for garbage neither while thousands of tests are put together, nor in them ever after.

    They stay to the end, and each look through all of them would hold up a test.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()
