"""Power cuts under a guard that trades: what was acknowledged is there, whatever the disk forgot.

Two file layers keep account of what is on the platter: one under SQLite, one under the state files.
A cut takes the platter as it is at that moment, with everything that no sync has waited for either
gone or there. From each the next guard starts, at the same account.
"""

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.acceptance.scenarios.stage import cover, net
from tests.adapters.power_loss import RecordingDisk
from tests.adapters.sqlite.failing_disk import REACHABLE, Disk, failing_disk
from tests.app.desk import Desk, Guard, a_desk, a_venue, audited, until

from backstop.adapters.checkpoints import CheckpointFolder
from backstop.adapters.state_file import StateFiles
from backstop.adapters.state_layout import AUDIT_DATABASE
from backstop.app import state_opening
from backstop.app.audit_verification import verify_record
from backstop.core.step import DecisionKind
from backstop.domain.order import OrderRequest, OrderState, OrderType, Side
from backstop.simulator.process import Simulator

pytestmark = pytest.mark.asyncio(loop_scope="module")

TABLES = "SELECT name FROM sqlite_master WHERE name = 'Journal'"
SIZE = "SELECT count(*) FROM Journal"
ASKED = (
    "SELECT json_extract(CAST(payload AS TEXT), '$.request.client_order_id') FROM Journal"
    " WHERE json_extract(CAST(payload AS TEXT), '$.kind') = 'OrderRequested'"
)


@pytest.fixture(autouse=True)
def runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue() -> AsyncIterator[Simulator]:
    async with a_venue(speed=1.0) as venue:
        yield venue


@pytest.fixture
def desk(venue: Simulator, tmp_path: Path) -> Desk:
    return a_desk(venue, tmp_path)


@pytest.fixture(params=REACHABLE, ids=lambda _: "sqlite")
def platter(request: pytest.FixtureRequest, desk: Desk) -> Iterator["Platter"]:
    with failing_disk(request.param) as disk:
        yield Platter(disk, desk.folder)


@dataclass
class Cut:
    """A folder as a power cut left it, and what had been acknowledged by then."""

    folder: Path
    acknowledged: dict[str, str]  # tags by client order id


@dataclass
class Platter:
    """What is surely on disk, of the record and of the state files together."""

    record: Disk
    folder: Path
    state: RecordingDisk = field(default_factory=RecordingDisk)
    acknowledged: dict[str, OrderRequest] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    cuts: list[Cut] = field(default_factory=list)
    _moment: threading.RLock = field(default_factory=threading.RLock)

    def lay_under(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have every guard of this test write through both layers, and be cut at each note."""
        monkeypatch.setattr(
            state_opening, "StateFiles", lambda folder, **_: StateFiles(folder, disk=self.state)
        )
        for owner, name in ((Disk, "synced"), (Disk, "truncated"), (RecordingDisk, "sync_folder")):
            monkeypatch.setattr(owner, name, self._in_one_moment(getattr(owner, name)))
        note = CheckpointFolder.append

        def cut_around(kept: CheckpointFolder, text: str) -> None:
            self.cut()
            note(kept, text)
            self.cut()

        monkeypatch.setattr(CheckpointFolder, "append", cut_around)

    def _in_one_moment(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            with self._moment:
                return method(*arguments)

        return call

    def acknowledge(self, request: OrderRequest, tag: str) -> None:
        """Note that the bot was told, and cut the power in that moment."""
        self.acknowledged[request.client_order_id] = request
        self.tags[request.client_order_id] = tag
        self.cut()

    def living(self, desk: Desk) -> Desk:
        """Return the desk in front of the folder that is lived in now."""
        return Desk(desk.venue, self.folder, desk.account, desk.names)

    def goes_on_from(self, cut: Cut) -> None:
        """Have the next guard find what ``cut`` left, and be cut in its turn."""
        self.folder = cut.folder.parent
        self.state = RecordingDisk()
        for path in cut.folder.glob("trading_state*.json"):
            self.state.adopt(path)

    def cut(self) -> None:
        """Keep what the power cut of this moment leaves: the least, and the most."""
        with self._moment:
            folders = list(self.state.folders())
            for left in (folders[0], folders[-1]):
                cut = self.folder / f"cut-{len(self.cuts):03}" / "state"
                real = self.folder / "state"
                shutil.copytree(
                    real, cut, ignore=lambda _, names: [it for it in names if _is_cut(it)]
                )
                kept = self.record.after_a_power_cut(
                    real / AUDIT_DATABASE, cut.with_name("record")
                ).parent
                for path in kept.iterdir():
                    path.rename(cut / path.name)
                for name, content in left.items():
                    (cut / name).write_bytes(content)
                cut.chmod(0o700)
                self.cuts.append(Cut(cut, dict(self.tags)))


def _is_cut(name: str) -> bool:
    return name.startswith(("audit.db", "trading_state"))


def lost(cut: Cut) -> set[str]:
    """Return the acknowledged decisions that the record of a cut does not have."""
    asked = {name for (name,) in audited(cut.folder, ASKED)} if has_record(cut) else set()
    return set(cut.acknowledged) - asked


def has_record(cut: Cut) -> bool:
    """Say whether there is a record with anything in it: the first notes come before it."""
    path = cut.folder / AUDIT_DATABASE
    return (
        path.exists() and audited(cut.folder, TABLES) != [] and audited(cut.folder, SIZE) != [(0,)]
    )


async def a_day(desk: Desk, platter: Platter) -> None:
    """Trade, with the power cut whenever the bot is told something."""
    async with platter.living(desk).guard() as guard:
        for quantity in (2, 1):
            await acknowledged(guard, platter, guard.request(Side.BUY, quantity))
        await until(lambda: (net(desk), cover(desk)) == (3, 3), "three contracts with stops")
        resting = guard.request(Side.BUY, 1, OrderType.LIMIT, ticks=-60)
        await acknowledged(guard, platter, resting)
        changed = await guard.manager.cancel_order(resting.client_order_id, reason="enough")
        assert changed.kind is DecisionKind.ACCEPTED
        await guard.reaches(resting.client_order_id, OrderState.CANCELLED)
        platter.cut()
        await acknowledged(guard, platter, guard.request(Side.SELL, 1, protected=False))
        await until(lambda: (net(desk), cover(desk)) == (2, 2), "two contracts with stops")
        await guard.agrees()
        platter.cut()


async def acknowledged(guard: Guard, platter: Platter, request: OrderRequest) -> None:
    order = await guard.send(request)
    platter.acknowledge(request, order.custom_tag)


async def test_no_power_cut_loses_what_was_acknowledged_or_leaves_a_record_that_is_refused(
    desk: Desk, platter: Platter, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        platter.lay_under(patched)
        await a_day(desk, platter)
        cuts = list(platter.cuts)
    assert len(cuts) >= 12

    for cut in cuts:
        assert lost(cut) == set()
        if has_record(cut):
            await asyncio.to_thread(verify_record, cut.folder)


@pytest.mark.parametrize("reached", [False, True], ids=["the-least", "the-most"])
async def test_life_after_life_a_guard_goes_on_from_what_the_power_cut_left(
    desk: Desk, platter: Platter, monkeypatch: pytest.MonkeyPatch, *, reached: bool
) -> None:
    """``reached``: what no sync had waited for reached the disk all the same."""
    wishes: list[Callable[[Guard], OrderRequest]] = [
        lambda guard: guard.request(Side.BUY, 2),
        lambda guard: guard.request(Side.BUY, 1, OrderType.LIMIT, ticks=-60),
        lambda guard: guard.request(Side.SELL, 1, protected=False),
        lambda guard: guard.request(Side.BUY, 1, OrderType.LIMIT, ticks=-80),
    ]
    with monkeypatch.context() as patched:
        platter.lay_under(patched)
        for wish in wishes:
            async with platter.living(desk).guard() as guard:
                await knows_everything(guard, platter)
                await acknowledged(guard, platter, wish(guard))
            platter.goes_on_from(platter.cuts[-1 if reached else -2])
        async with platter.living(desk).guard() as guard:
            await knows_everything(guard, platter)
            await until(lambda: (net(desk), cover(desk)) == (1, 1), "one contract with its stop")
            await guard.agrees()

    tags = [row["customTag"] for row in desk.orders()]
    assert tags == list(platter.tags.values())
    assert "second trader" not in str(guard.book.state_reasons(guard.manager.now_ns()))


async def knows_everything(guard: Guard, platter: Platter) -> None:
    """What was acknowledged before the cut is known, and not sent a second time."""
    for name, request in platter.acknowledged.items():
        again = await guard.manager.submit_order(request)
        assert again.order is not None
        assert again.order.custom_tag == platter.tags[name]


async def test_a_disk_that_only_says_that_it_has_synced_is_found_out(
    desk: Desk, platter: Platter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What these tests are worth: with no sync that counts, acknowledged decisions are gone."""
    with monkeypatch.context() as patched:
        patched.setattr(Disk, "synced", lambda *_: 0)
        platter.lay_under(patched)
        async with desk.guard() as guard:
            await acknowledged(guard, platter, guard.request(Side.BUY, 2))
            await guard.agrees()

    assert lost(platter.cuts[-1]) == set(platter.tags)
