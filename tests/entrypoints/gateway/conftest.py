"""One simulated venue, and for most tests of a file one guard with its gateway in front of it."""

from collections.abc import AsyncIterator
from itertools import count

import pytest
import pytest_asyncio
from tests.app.conftest import desk, runtime_folder, venue
from tests.app.desk import a_desk, until
from tests.entrypoints.gateway.bots import Bot, Front, in_front

from backstop.simulator.process import Simulator

__all__ = ["bot", "desk", "front", "runtime_folder", "venue"]

_names = count(1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def front(venue: Simulator, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Front]:
    """Run one guard with its gateway for all tests of the file."""
    folder = tmp_path_factory.mktemp("gateway")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_RUNTIME_DIR", str(folder))
        async with in_front(a_desk(venue, folder), EXECUTION_TIMEOUT_SECONDS=1) as front:
            yield front


@pytest_asyncio.fixture(loop_scope="module")
async def bot(front: Front) -> AsyncIterator[Bot]:
    """Give a new bot at a flat account, and leave it flat."""
    bot = await front.bot(f"bot-{next(_names)}")
    yield bot
    front.desk.venue.faults.heal()
    front.desk.venue.faults.add(front.desk.venue.config.faults)
    await front.flat()
    await until(lambda: not front.true_live_orders(), "no order left")
