"""A terminal in an empty folder for each test that types what a page says."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.docs.terminal import Terminal


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    typed = Terminal(tmp_path)
    try:
        yield typed
    finally:
        codes = typed.close()
    assert set(codes) <= {0}
