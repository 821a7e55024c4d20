"""`backstop storm`: a line for each seed, a digest, an exit code."""

import json

import pytest
import typer
from typer.testing import CliRunner

from backstop.entrypoints.storm import storm as verb
from backstop.storm.mutations import MUTATIONS, planted

app = typer.Typer()
app.command()(verb)
ASKED = ("--hours", "0.005")


def test_a_seed_has_a_line_with_its_digest_and_a_verdict() -> None:
    done = CliRunner().invoke(app, ["--seed", "20", *ASKED])
    assert done.exit_code == 0, done.output
    line, total = done.output.splitlines()
    assert line.startswith("seed     20 calm")
    assert "passed" in line
    assert total == "1 seeds, 0 failed"


def test_the_json_of_a_seed_has_everything() -> None:
    done = CliRunner().invoke(app, ["--seed", "20", *ASKED, "--json"])
    result = json.loads(done.output)
    assert result["seed"] == 20
    assert len(result["digest"]) == 16
    assert result["violations"] == []


def test_a_trace_tells_the_story() -> None:
    done = CliRunner().invoke(app, ["--seed", "20", *ASKED, "--trace"])
    assert "world    start number=1" in done.output
    assert "guard    recovered" in done.output


def test_several_seeds_run_in_processes_of_their_own() -> None:
    done = CliRunner().invoke(app, ["--seeds", "20:22", *ASKED, "--workers", "2"])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1] == "2 seeds, 0 failed"


def test_a_failed_seed_ends_with_one_and_says_how_to_see_it() -> None:
    bug = next(it for it in MUTATIONS if it.name == "let commands leave before they are on disk")
    with planted(bug):
        done = CliRunner().invoke(app, ["--seed", "20", "--hours", "0.01"])
    assert done.exit_code == 1
    assert "durable before sent" in done.output
    assert "backstop storm --seed 20 --hours 0.01 --trace" in done.output


@pytest.mark.parametrize("seeds", ["many", "5", "5:5", "0:2000000", "-1:4"])
def test_a_range_that_is_none_is_refused(seeds: str) -> None:
    done = CliRunner().invoke(app, ["--seeds", seeds])
    assert done.exit_code == 2


def test_a_storm_of_no_time_is_refused() -> None:
    assert CliRunner().invoke(app, ["--seed", "1", "--hours", "0"]).exit_code == 2
