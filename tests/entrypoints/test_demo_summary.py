"""The demo's last word: it must fail when a lie is in the books of either side."""

import copy
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.app.desk import Guard, a_desk, a_venue

from backstop.adapters.signing import AuditKeys
from backstop.domain.order import OrderState, OrderType, Side
from backstop.entrypoints.demo.summary import Summary, summarise
from backstop.simulator.process import Simulator

pytestmark = pytest.mark.asyncio(loop_scope="module")

Truth = dict[str, Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue() -> AsyncIterator[Simulator]:
    async with a_venue() as venue:
        yield venue


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guard(venue: Simulator, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guard]:
    """Run a guard that was filled, cancelled, refused by the venue, and still holds a contract."""
    folder: Path = tmp_path_factory.mktemp("desk")
    async with a_desk(venue, folder).guard(EXECUTION_TIMEOUT_SECONDS=1) as guard:
        await guard.enter(quantity=2)
        await guard.enter(Side.SELL, 1, protected=False)
        resting = await guard.send(guard.request(kind=OrderType.LIMIT, ticks=-300))
        await guard.manager.cancel_order(resting.client_order_id, reason="enough")
        await guard.reaches(resting.client_order_id, OrderState.CANCELLED)
        refused = await guard.send(guard.request(kind=OrderType.LIMIT, ticks=-3000))
        await guard.reaches(refused.client_order_id, OrderState.REJECTED)
        await guard.agrees()
        yield guard


async def compared(guard: Guard, truth: Truth) -> Summary:
    return await summarise(guard.manager, truth, refused=0, seconds=1.0, data="a test")


async def test_the_truth_is_found_equal(guard: Guard) -> None:
    truth = guard.venue.exchange.truth()
    summary = await compared(guard, truth)

    assert summary.faults_found == ()
    assert (summary.orders, summary.verified) == (3, 3)
    assert summary.proofs_verified == 2
    assert summary.fills == len(truth["trades"])  # type: ignore[arg-type]
    assert summary.positions == {"MES": 1}


def an_extra_trade(truth: Truth) -> None:
    truth["trades"].append({**truth["trades"][0], "id": 1})


def a_missing_trade(truth: Truth) -> None:
    del truth["trades"][0]


def another_price(truth: Truth) -> None:
    truth["trades"][0]["price"] = "1.25"


def another_quantity(truth: Truth) -> None:
    truth["trades"][0]["quantity"] += 1


def a_voided_trade(truth: Truth) -> None:
    truth["trades"][0]["voided"] = True


def an_extra_order(truth: Truth) -> None:
    truth["orders"].append({**truth["orders"][0], "id": 1, "customTag": "bs-unheard-of"})


def a_missing_order(truth: Truth) -> None:
    del truth["orders"][0]


def a_larger_fill(truth: Truth) -> None:
    truth["orders"][0]["fillVolume"] += 1


def a_larger_position(truth: Truth) -> None:
    truth["positions"][0]["quantity"] += 1


def a_position_on_the_other_side(truth: Truth) -> None:
    truth["positions"][0]["quantity"] *= -1


def no_position(truth: Truth) -> None:
    truth["positions"].clear()


@pytest.mark.parametrize(
    "lie",
    [
        an_extra_trade,
        a_missing_trade,
        another_price,
        another_quantity,
        a_voided_trade,
        an_extra_order,
        a_missing_order,
        a_larger_fill,
        a_larger_position,
        a_position_on_the_other_side,
        no_position,
    ],
)
async def test_a_planted_lie_is_found(guard: Guard, lie: Callable[[Truth], None]) -> None:
    truth: Truth = copy.deepcopy(dict(guard.venue.exchange.truth()))
    lie(truth)

    assert (await compared(guard, truth)).faults_found != ()


async def test_a_proof_of_another_key_is_found(guard: Guard, tmp_path: Path) -> None:
    public_key = guard.manager.settings.state_folder / "keys" / "audit.pub"
    ours = public_key.read_bytes()
    AuditKeys.open(tmp_path / "keys")
    public_key.write_bytes((tmp_path / "keys" / "audit.pub").read_bytes())
    try:
        summary = await compared(guard, dict(guard.venue.exchange.truth()))
    finally:
        public_key.write_bytes(ours)

    assert summary.proofs_verified == 0
    assert len(summary.faults_found) == 2
