"""The measurement runs, and the published page is what its document says."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
sys.path.insert(0, str(REPOSITORY / "tools"))

from benchmarks import page  # noqa: E402 - the tools are no package
from benchmarks.figures import Figure, Goal, Of  # noqa: E402 - likewise

WAITS = ("p50_ms", "p99_ms")
KILLS = ("kill_to_armed_ms", "kill_to_guarding_ms")
STALLS = (
    "event_loop_stall_ms",
    "event_loop_own_stall_ms",
    "event_loop_stalls_over_goal",
    "event_loop_bare_stalls_over_goal",
)
CRASHES = (
    "crash_to_protected_ms",
    "crash_to_protected_p99_ms",
    "crash_lost_decisions",
    "crash_state_age_ms",
)
NAKED = tuple(f"naked_{which}_ms" for which in ("p50", "p99", "max"))
WEIGHTS = tuple(
    f"memory_{what}_mib" for what in ("watchdog", "guard", "together", "with_api", "spare")
)
STATE_STARTS = (
    "state_start_ms",
    *(f"state_start_{how}_ms" for how in ("short_tail", "long_tail", "from_journal")),
)
STATE_KEPT = tuple(
    f"state_{when}_{figure}"
    for when in ("idle", "trading")
    for figure in ("mib_per_h", "cpu_percent")
)
SOURCES = tuple(
    f"source_{kind}_{unit}"
    for kind in ("none", "azure", "aws", "keyring")
    for unit in ("ms", "mib")
)
DECIDED = tuple(
    f"{what}_{quantile}_us_{instruments}"
    for what in ("validate", "exposure")
    for quantile in ("p50", "p99")
    for instruments in (4, 50, 500)
)
BARS = tuple(f"bar_us_{families}" for families in (50, 500))
EXPOSURE = (
    *DECIDED,
    *BARS,
    *(f"{what}_per_s_{count}" for what in ("validate", "exposure") for count in (4, 50, 500)),
    *(f"exposure_moved_us_{count}" for count in (4, 50, 500)),
)
LOADED = tuple(f"loaded_trade_to_verdict_{quantile}_ms" for quantile in ("p50", "p99"))
CALLS = ("api_calls_per_s", "api_call_p50_ms", "api_call_p99_ms")
KEYS = {
    *SOURCES,
    *LOADED,
    *CALLS,
    *EXPOSURE,
    "start_to_armed_s",
    "start_to_healthy_s",
    "packages",
    "import_guard_ms",
    "import_http_ms",
    *KILLS,
    *WEIGHTS,
    *STATE_STARTS,
    *STATE_KEPT,
    *(
        f"journal_{count}_{figure}"
        for count in (1, 8, 32, 128)
        for figure in ("commits_per_s", "wait_p50_ms", "wait_p99_ms")
    ),
    *(f"orders_{count}_{figure}" for count in (1, 32) for figure in ("per_s", *WAITS)),
    *(f"{until}_{count}_ms" for until in ("closed", "flat") for count in (1, 5, 20)),
    *(f"event_to_durable_{figure}" for figure in WAITS),
    *(f"venue_to_durable_{figure}" for figure in WAITS),
    "event_load_per_s",
    "events_at_once_per_s",
    *(
        f"audited_orders_{way}_per_s"
        for way in ("one_by_one", "ten_waiting", "groups_of_ten", "stream_of_tens")
    ),
    "signatures_per_s",
    "signature_checks_per_s",
    "verified_records_per_s",
    "verification_memory_mib",
    "inclusion_proofs_per_s",
    "engine_facts_per_s",
    "engine_facts_per_s_with_past",
    "proofs_made_per_s",
    "proofs_checked_per_s",
    *CRASHES,
    *NAKED,
    *STALLS,
}
WITHOUT_BASELINE = {
    *STALLS[1:],
    "packages",
    *CALLS,
    *SOURCES,
    *EXPOSURE,
    *CRASHES,
    *NAKED,
    *WEIGHTS,
    *STATE_STARTS[1:],
    "import_guard_ms",
    "import_http_ms",
    "event_load_per_s",
    "events_at_once_per_s",
    "signatures_per_s",
    "signature_checks_per_s",
    "verified_records_per_s",
    "verification_memory_mib",
    "inclusion_proofs_per_s",
    "engine_facts_per_s",
    *(f"{until}_{count}_ms" for until in ("closed", "flat") for count in (1, 5, 20)),
}

WITH_A_GOAL = {
    *LOADED,
    "api_call_p99_ms",
    *DECIDED,
    *BARS,
    *KILLS,
    *CRASHES[1:],
    "naked_max_ms",
    *STALLS[:2],
    "memory_together_mib",
    "state_start_ms",
    "state_idle_mib_per_h",
    "state_idle_cpu_percent",
    "journal_32_commits_per_s",
    "event_to_durable_p50_ms",
    "event_to_durable_p99_ms",
    "audited_orders_one_by_one_per_s",
    "audited_orders_groups_of_ten_per_s",
    "audited_orders_stream_of_tens_per_s",
}
MAY_BE_NOTHING = {"crash_lost_decisions", "source_none_mib"}


@pytest.mark.timeout(400)
def test_a_quick_run_measures_every_figure_beside_its_baseline(tmp_path: Path) -> None:
    written = tmp_path / "folder" / "bench.json"
    published = [page.DOCUMENT.read_bytes(), page.PAGE.read_bytes()]

    done = subprocess.run(
        [sys.executable, "tools/bench.py", "--quick", "--json", str(written)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(written.read_text())
    figures = document["figures"]
    assert set(figures) == KEYS
    for key, figure in figures.items():
        assert 0 <= figure["low"] <= figure["median"] <= figure["high"], key
        assert figure["low"] > 0 or key in MAY_BE_NOTHING, key
        assert figure["what"] in done.stdout
        if key not in WITHOUT_BASELINE:
            assert figure["baseline"]["low"] > 0, key
            assert figure["ratio"]["low"] > 0, key
        assert (figure.get("goal", {}).get("verdict") in {"met", "missed"}) == (key in WITH_A_GOAL)
    assert document["machine"]["processors"] >= 1
    assert document["machine"]["sync_ms"]["median"] > 0
    assert all(figure["what"].strip() in page.rendered(document) for figure in figures.values())
    assert published == [page.DOCUMENT.read_bytes(), page.PAGE.read_bytes()]


def test_the_published_page_says_what_its_document_says() -> None:
    document = json.loads(page.DOCUMENT.read_text(encoding="utf-8"))

    assert page.PAGE.read_text(encoding="utf-8") == page.rendered(document)


def test_every_published_figure_stands_on_the_page() -> None:
    document = json.loads(page.DOCUMENT.read_text(encoding="utf-8"))
    rows = page.PAGE.read_text(encoding="utf-8").splitlines()

    assert set(document["figures"]) == KEYS
    for key, figure in document["figures"].items():
        assert sum(row.startswith(f"| {figure['what'].strip()} |") for row in rows) == 1, key


def test_a_missed_goal_is_said_twice() -> None:
    """In its row, and by how much it was missed above all tables."""
    figure = Figure(
        key="k",
        what="orders made durable",
        unit="1/s",
        rounds=(9.0, 10.0, 11.0),
        goal=Goal(of=Of.VALUE, bound=20, at_least=True),
    )
    document = json.loads(page.DOCUMENT.read_text(encoding="utf-8")) | {
        "figures": {figure.key: {"part": "journal", **figure.document()}}
    }

    lines = page.rendered(document).splitlines()

    assert "- orders made durable: 10.0 1/s, where the goal is >= 20." in lines
    assert (
        "| orders made durable | 1/s | 10.0 | 9.00 to 11.0 | 3 |  |  | >= 20 | **missed** |"
        in lines
    )


@pytest.mark.parametrize(("worst", "verdict"), [(2.0, "met"), (2.5, "missed")])
def test_a_goal_of_every_round_is_missed_by_one(worst: float, verdict: str) -> None:
    figure = Figure(
        key="k",
        what="a stall",
        unit="ms",
        rounds=(1.0, 1.0, worst),
        goal=Goal(of=Of.WORST, bound=2, at_least=False),
    )

    assert figure.verdict == verdict
