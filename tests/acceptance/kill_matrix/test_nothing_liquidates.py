"""The stories of the liquidation see it when there is none: each of them fails then."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.acceptance.kill_matrix.nothing_liquidates import WAYS

REPO = Path(__file__).parents[3]
STORIES = "tests/acceptance/test_liquidation_story.py"
CHOSEN = (
    "test_positions_orders_and_legs_are_gone_and_the_latch_stays",
    "test_a_liquidation_goes_on_in_the_next_process_and_stays_latched",
)
LIMIT_S = 100


@pytest.mark.parametrize("way", WAYS)
def test_a_suite_without_a_liquidation_fails(way: str) -> None:
    played = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            *("-p", "no:cacheprovider", "-q"),
            *("-p", "tests.acceptance.kill_matrix.nothing_liquidates"),
            *(f"{STORIES}::{name}" for name in CHOSEN),
        ],
        cwd=REPO,
        # What the stories do not need is not loaded: that takes as long as to play them.
        env={
            **os.environ,
            "NOTHING_LIQUIDATES": way,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTEST_PLUGINS": "pytest_asyncio.plugin,pytest_timeout",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )

    assert played.returncode == 1, played.stdout + played.stderr
    assert f"{len(CHOSEN)} failed" in played.stdout, played.stdout
    assert "error" not in played.stdout.splitlines()[-1], played.stdout
