"""What is measured of a start, and of the gateway for bots, can be measured."""

from pathlib import Path

import pytest
from tests.tools.bench_trials import LIMIT_S, tried


@pytest.mark.timeout(LIMIT_S + 20)
def test_a_trial_measures_every_figure_beside_its_baseline(tmp_path: Path) -> None:
    tried("start", tmp_path)
