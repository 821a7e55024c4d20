"""What is measured of a guard that died can be measured."""

from pathlib import Path

import pytest
from tests.tools.bench_trials import LIMIT_S, tried


@pytest.mark.timeout(LIMIT_S + 20)
def test_a_trial_measures_every_figure_beside_its_baseline(tmp_path: Path) -> None:
    tried("recovery", tmp_path)
