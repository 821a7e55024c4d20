"""Seeds that always run: one of each weather, those that ever failed, and the digest's promise."""

import hashlib
import itertools
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

import backstop
from backstop.storm.coverage import ALERTS, TRANSITIONS, coverage
from backstop.storm.mutations import MUTATIONS, planted
from backstop.storm.plan import Weather, plan_of
from backstop.storm.regressions import REGRESSIONS
from backstop.storm.seed_run import SeedResult, run_seed

HOURS = 0.02
"""Some seventy seconds each: the long run is ``make storm``."""

SEEDS = (2, 5, 14, 16, 24, 20, 29)
"""One for each weather, on days and accounts that let a bot trade."""

BEGINNING_H = 0.03
"""So much of each seed that ever failed; ``make storm`` plays them as long as it takes."""

FAILED_ONCE = sorted({(it.seed, min(it.hours, BEGINNING_H)) for it in REGRESSIONS})

FRESH = 2
"""Seeds that nobody has played before; each takes a second or two."""

SEEDS_MAX = 1_000_000

CODE = Path(backstop.__file__).parent


def told(result: SeedResult) -> str:
    return "\n".join(
        [
            *(f"{it.at_s}: {it.rule}: {it.text}" for it in result.violations),
            *result.unsettled,
            f"backstop storm --seed {result.seed} --hours {result.hours} --trace",
        ]
    )


def fresh_seeds() -> list[int]:
    """Return seeds of this very code: each version has others, and a second run has the same."""
    code = hashlib.sha256()
    for path in sorted(CODE.rglob("*.py")):
        code.update(path.read_bytes())
    drawn = random.Random(code.digest())  # noqa: S311 - no secret
    return [drawn.randrange(SEEDS_MAX) for _ in range(FRESH)]


def test_the_fixed_seeds_have_every_weather() -> None:
    assert {plan_of(seed).weather for seed in SEEDS} == set(Weather)


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_broken_and_everything_comes_right(seed: int) -> None:
    result = run_seed(seed, hours=HOURS)
    assert result.passed, told(result)
    assert result.reached[TRANSITIONS]


@pytest.mark.parametrize(("seed", "hours"), FAILED_ONCE)
def test_a_seed_that_failed_once_passes(seed: int, hours: float) -> None:
    result = run_seed(seed, hours=hours)
    assert result.passed, told(result)


@pytest.mark.parametrize("seed", fresh_seeds())
def test_seeds_that_nobody_has_played_pass_as_well(seed: int) -> None:
    result = run_seed(seed, hours=HOURS)
    assert result.passed, told(result)


def test_every_defect_that_was_found_is_held_by_tests_of_its_own() -> None:
    tests = Path(__file__).parents[1]
    assert all((tests / it.test).is_file() for it in REGRESSIONS)


def test_the_digest_is_the_same_in_another_process_with_other_hashes() -> None:
    digests = set()
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "backstop",
                *["storm", "--seed", "16", "--hours", "0.01", "--json"],
            ],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
            timeout=100,
        )
        digests.add(json.loads(done.stdout)["digest"])
    assert digests == {run_seed(16, hours=0.01).digest}


def test_the_digest_is_the_same_on_a_computer_on_which_it_takes_a_day(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    digest = run_seed(45, hours=0.01).digest
    slow_s = itertools.count(0, 60)
    monkeypatch.setattr(time, "monotonic", lambda: float(next(slow_s)))
    monkeypatch.setattr("aiohttp.connector.monotonic", time.monotonic)

    assert run_seed(45, hours=0.01).digest == digest


def test_another_seed_is_another_story() -> None:
    assert run_seed(14, hours=0.01).digest != run_seed(16, hours=0.01).digest


def test_a_planted_bug_is_found_and_the_seed_passes_without_it() -> None:
    bug = next(it for it in MUTATIONS if it.name == "let commands leave before they are on disk")
    with planted(bug):
        found = run_seed(20, hours=0.01)
    assert {it.rule for it in found.violations} == {"durable before sent"}
    assert run_seed(20, hours=0.01).passed


def test_what_was_not_reached_is_named() -> None:
    alerts = next(it for it in coverage([{ALERTS: ["GUARD_STOOD_STILL"]}]) if it.kind == ALERTS)
    assert alerts.reached == ("GUARD_STOOD_STILL",)
    assert "GUARD_STOOD_STILL" not in alerts.unreached
    assert len(alerts.unreached) > 10
