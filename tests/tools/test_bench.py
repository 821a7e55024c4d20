import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]

WAITS = ("p50_ms", "p99_ms")
KILLS = ("kill_to_armed_ms", "kill_to_guarding_ms")
WEIGHTS = tuple(f"memory_{what}_mib" for what in ("watchdog", "guard", "together", "spare"))
STATE_STARTS = (
    "state_start_ms",
    *(f"state_start_{how}_ms" for how in ("short_tail", "long_tail", "from_journal")),
)
STATE_KEPT = tuple(
    f"state_{when}_{figure}"
    for when in ("idle", "trading")
    for figure in ("mib_per_h", "cpu_percent")
)
KEYS = {
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
}
WITHOUT_BASELINE = {
    "packages",
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
    *KILLS,
    "memory_together_mib",
    "state_start_ms",
    "state_idle_mib_per_h",
    "state_idle_cpu_percent",
    "journal_32_commits_per_s",
    "event_to_durable_p50_ms",
    "event_to_durable_p99_ms",
    "audited_orders_one_by_one_per_s",
    "audited_orders_stream_of_tens_per_s",
}


@pytest.mark.timeout(400)
def test_a_short_run_measures_every_figure_beside_its_baseline(tmp_path: Path) -> None:
    written = tmp_path / "folder" / "bench.json"

    done = subprocess.run(
        [sys.executable, "tools/bench.py", "--short", "--json", str(written)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(written.read_text())
    figures = document["figures"]
    assert set(figures) == KEYS
    for key, figure in figures.items():
        assert 0 < figure["low"] <= figure["median"] <= figure["high"], key
        assert figure["what"] in done.stdout
        if key not in WITHOUT_BASELINE:
            assert figure["baseline"]["low"] > 0, key
            assert figure["ratio"]["low"] > 0, key
        if key in WITH_A_GOAL:
            assert figure["goal"]["verdict"] in {"met", "missed"}, key
    assert document["machine"]["processors"] >= 1
    assert document["machine"]["sync_ms"]["median"] > 0
