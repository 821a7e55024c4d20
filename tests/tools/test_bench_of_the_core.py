"""What is measured of the core, the journal and events can be measured, and so can growth."""

from pathlib import Path

import pytest
from tests.tools.bench_trials import LIMIT_S, tried


@pytest.mark.timeout(LIMIT_S + 20)
def test_a_trial_measures_every_figure_curve_and_profile(tmp_path: Path) -> None:
    document = tried("core", tmp_path)

    panels: dict[str, int] = {}
    for curve in document["curves"].values():
        panels[curve["panel"]] = panels.get(curve["panel"], 0) + 1
        places = [point["at"] for point in curve["points"]]
        assert places == sorted(set(places))
        assert len(places) > 1
        assert all(0 < it["low"] <= it["median"] <= it["high"] for it in curve["points"])
    assert panels == {"orders": 2, "instruments": 4, "records": 3}
    assert list(document["profiles"]) == ["event_to_verified", "decision", "fact", "storm_hour"]
    for profile in document["profiles"].values():
        assert profile["unit_us"]["low"] > 0
        assert len(profile["functions"]) > 1
        assert sum(it["own"]["median"] for it in profile["functions"]) <= 1 + 1e-9
        for function in (*profile["functions"], *profile["stages"]):
            assert 0 <= function["own"]["high"] <= function["within"]["high"] <= 1
            assert function["within"]["high"] > 0
