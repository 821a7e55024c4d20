"""What each part of the measurement has to find, and trials of it that measure little."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import page

REPOSITORY = Path(__file__).parents[2]

LIMIT_S = 280

TRIALS = {
    "core": ("journal", "events", "audit", "orders", "core", "exposure", "growth", "profiles"),
    "recovery": ("crash", "restart", "protection"),
    "guard": ("state", "loop", "api"),
    "start": ("start", "gateway"),
}
"""Parts that are tried by one process: each trial has a file of its own, so they go at once."""

INSTRUMENTS, FAMILIES = (4, 50, 500), (50, 500)
FEW_INSTRUMENTS, FEW_FAMILIES = (4, 8), (8,)
"""Of a trial."""

WAITS = ("p50_ms", "p99_ms")


def _exposure(instruments: tuple[int, ...], families: tuple[int, ...]) -> set[str]:
    return {
        *(
            f"{what}_{figure}_{count}"
            for what in ("validate", "exposure")
            for figure in ("p50_us", "p99_us", "per_s")
            for count in instruments
        ),
        *(f"exposure_moved_us_{count}" for count in instruments),
        *(f"bar_us_{count}" for count in families),
    }


FIGURES: dict[str, set[str]] = {
    "journal": {
        f"journal_{count}_{figure}"
        for count in (1, 8, 32, 128)
        for figure in ("commits_per_s", "wait_p50_ms", "wait_p99_ms")
    },
    "events": {
        *(f"event_to_durable_{figure}" for figure in WAITS),
        *(f"venue_to_durable_{figure}" for figure in WAITS),
        "event_load_per_s",
        "events_at_once_per_s",
    },
    "audit": {
        *(
            f"audited_orders_{way}_per_s"
            for way in ("one_by_one", "ten_waiting", "groups_of_ten", "stream_of_tens")
        ),
        "signatures_per_s",
        "signature_checks_per_s",
        "proofs_made_per_s",
        "proofs_checked_per_s",
        "verified_records_per_s",
        "verification_memory_mib",
        "inclusion_proofs_per_s",
    },
    "orders": {f"orders_{count}_{figure}" for count in (1, 32) for figure in ("per_s", *WAITS)},
    "core": {"engine_facts_per_s", "engine_facts_per_s_with_past"},
    "exposure": _exposure(INSTRUMENTS, FAMILIES),
    "crash": {
        "crash_to_protected_ms",
        "crash_to_protected_p99_ms",
        "crash_lost_decisions",
        "crash_state_age_ms",
    },
    "restart": {
        "kill_to_armed_ms",
        "kill_to_guarding_ms",
        *(f"memory_{it}_mib" for it in ("watchdog", "guard", "together", "with_api", "spare")),
    },
    "protection": {
        *(f"naked_{which}_ms" for which in ("p50", "p99", "max")),
        *(f"{until}_{count}_ms" for until in ("closed", "flat") for count in (1, 5, 20)),
    },
    "state": {
        "state_start_ms",
        *(f"state_start_{how}_ms" for how in ("short_tail", "long_tail", "from_journal")),
        *(
            f"state_{when}_{figure}"
            for when in ("idle", "trading")
            for figure in ("mib_per_h", "cpu_percent")
        ),
    },
    "loop": {
        "event_loop_stall_ms",
        "event_loop_own_stall_ms",
        "event_loop_stalls_over_goal",
        "event_loop_bare_stalls_over_goal",
    },
    "api": {
        "api_calls_per_s",
        "api_call_p50_ms",
        "api_call_p99_ms",
        *(f"loaded_trade_to_verdict_{figure}" for figure in WAITS),
    },
    "gateway": {
        *(f"gateway_{what}_{figure}" for what in ("place", "round_trip") for figure in WAITS),
        *(f"gateway_place_{figure}_ms" for figure in ("added", "added_without_sync")),
        *(f"gateway_place_{figure}_ms" for figure in ("floor", "above_floor")),
        *(
            f"gateway_{what}_later_{figure}"
            for what in ("order_event", "user_event", "quote")
            for figure in WAITS
        ),
        *(f"gateway_quotes_{what}_percent" for what in ("delivered", "processor")),
    },
    "start": {
        "start_to_armed_s",
        "start_to_healthy_s",
        "packages",
        "import_guard_ms",
        "import_http_ms",
        *(
            f"source_{kind}_{unit}"
            for kind in ("none", "azure", "aws", "keyring")
            for unit in ("ms", "mib")
        ),
    },
}
"""The figures of each part, by their keys."""

WITH_BASELINE = {
    *FIGURES["journal"],
    *FIGURES["orders"],
    *(f"event_to_durable_{figure}" for figure in WAITS),
    *(f"venue_to_durable_{figure}" for figure in WAITS),
    *(it for it in FIGURES["audit"] if it.startswith(("audited_orders", "proofs_"))),
    "engine_facts_per_s_with_past",
    "kill_to_armed_ms",
    "kill_to_guarding_ms",
    "state_start_ms",
    *(it for it in FIGURES["state"] if it.endswith(("mib_per_h", "cpu_percent"))),
    "event_loop_stall_ms",
    *(f"loaded_trade_to_verdict_{figure}" for figure in WAITS),
    *(f"gateway_{what}_{figure}" for what in ("place", "round_trip") for figure in WAITS),
    "gateway_place_added_ms",
    "start_to_armed_s",
    "start_to_healthy_s",
}

WITH_GOAL = {
    *(f"loaded_trade_to_verdict_{figure}" for figure in WAITS),
    "api_call_p99_ms",
    *(
        f"{what}_{figure}_us_{count}"
        for what in ("validate", "exposure")
        for figure in ("p50", "p99")
        for count in (*INSTRUMENTS, *FEW_INSTRUMENTS)
    ),
    *(f"bar_us_{count}" for count in FAMILIES),
    "kill_to_armed_ms",
    "kill_to_guarding_ms",
    *(FIGURES["crash"] - {"crash_to_protected_ms"}),
    "naked_max_ms",
    "event_loop_stall_ms",
    "event_loop_own_stall_ms",
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
    "gateway_place_added_without_sync_ms",
    "gateway_quotes_delivered_percent",
    "gateway_quotes_processor_percent",
}

MAY_BE_NOTHING = {
    *(it for it in FIGURES["gateway"] if "later" in it or "added" in it or "floor" in it),
    "crash_lost_decisions",
    "source_none_mib",
    "event_loop_stalls_over_goal",
    "event_loop_bare_stalls_over_goal",
}


def tried(trial: str, folder: Path) -> dict[str, Any]:
    """Have every part of ``trial`` measure little, check what it tells, and return that."""
    parts, written = TRIALS[trial], folder / "folder" / "bench.json"
    published = [path.read_bytes() for path in (page.DOCUMENT, page.PAGE, page.PICTURE)]
    done = subprocess.run(
        [sys.executable, "tools/bench.py", "--quick", "--only", *parts, "--json", str(written)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(written.read_text(encoding="utf-8"))
    assert tuple(document["parts"]) == parts
    for part in document["parts"].values():
        assert part["machine"]["processors"] >= 1
        assert part["machine"]["sync_ms"]["median"] > 0
        assert part["took_s"] >= 0
    few = {**FIGURES, "exposure": _exposure(FEW_INSTRUMENTS, FEW_FAMILIES)}
    assert set(document["figures"]) == {key for part in parts for key in few.get(part, ())}
    for key, figure in document["figures"].items():
        check_figure(key, figure)
        assert figure["what"] in done.stdout
    assert all(it["what"].strip() in page.rendered(document) for it in document["figures"].values())
    assert published == [path.read_bytes() for path in (page.DOCUMENT, page.PAGE, page.PICTURE)]
    return document


def check_figure(key: str, figure: dict[str, Any]) -> None:
    """Check that a figure has everything that a figure of its kind has to have."""
    assert 0 <= figure["low"] <= figure["median"] <= figure["high"], key
    assert figure["low"] > 0 or key in MAY_BE_NOTHING, key
    if key in WITH_BASELINE:
        assert figure["baseline"]["low"] > 0, key
        assert figure["ratio"]["low"] > 0, key
    assert (figure.get("goal", {}).get("verdict") in {"met", "missed"}) == (key in WITH_GOAL), key
