"""What situations share: a folder for locks, a venue for each file, an account for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.app.desk import Desk, a_desk, a_venue

from backstop.simulator.process import Simulator


@pytest.fixture(autouse=True)
def runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue() -> AsyncIterator[Simulator]:
    async with a_venue() as venue:
        yield venue


@pytest.fixture
def desk(venue: Simulator, tmp_path: Path) -> Desk:
    return a_desk(venue, tmp_path)
