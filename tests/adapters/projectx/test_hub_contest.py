"""A hub that somebody else takes from us each time is left alone, where the guard only looks on."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from msgspec import Raw
from tests.adapters.projectx.conftest import HubSocket, ScriptedHub, running, until

from backstop.adapters.clock import SystemClock
from backstop.adapters.projectx.hub_link import HubLink
from backstop.adapters.projectx.session import BearerToken
from backstop.adapters.projectx.signalr import Call, HubTimings
from backstop.domain.hub_contest import EVICTIONS_MAX, REST_S, WINDOW_NS, is_contested, lately

HOUR_S = 3600.0

PATIENCE_S = 20.0


class OneToken:
    """A session whose token never ends."""

    async def token(self) -> BearerToken:
        return BearerToken("one", ends_ns=2**62, life_ns=2**62)

    def refuse(self, token: BearerToken) -> None:
        raise AssertionError(f"{token} is good")


class Evicted:
    """Gives the connection up at each ``GatewayLogout``, as the user hub does."""

    def __init__(self) -> None:
        self.link: HubLink | None = None
        self.begun = 0

    def subscriptions(self) -> Sequence[Call]:
        return ()

    def on_begin(self, generation: int) -> None:
        self.begun = generation

    def on_connected(self, generation: int) -> None:
        assert generation == self.begun

    def on_lost(self, generation: int, reason: str) -> None:
        assert reason.startswith("GatewayLogout"), (generation, reason)

    def on_event(self, target: str, arguments: list[Raw]) -> None:
        assert self.link is not None
        self.link.rebuild(f"{target}{arguments}", evicted=True)

    def on_rejected(self, target: str, fault: str, payload: bytes) -> None:
        raise AssertionError((target, fault, payload))


async def stays(socket: HubSocket) -> None:
    await socket.handshake()
    await socket.serve()


async def taken_again(socket: HubSocket) -> None:
    await socket.handshake()
    await socket.event("GatewayLogout")
    await socket.serve()


def linked(
    hub: ScriptedHub,
    listener: Evicted,
    *,
    contest_rest_s: float,
    sleep: Callable[[float], Awaitable[None]],
) -> HubLink:
    listener.link = HubLink(
        hub.url,
        tokens=OneToken(),
        listener=listener,
        clock=SystemClock(),
        timings=HubTimings(contest_rest_s=contest_rest_s),
        jitter=lambda: 0.5,
        sleep=sleep,
    )
    return listener.link


async def pauses(hub: ScriptedHub, connections: int, *, contest_rest_s: float) -> list[float]:
    """Return the pauses that a link makes until its connection of that number."""
    asked_s: list[float] = []

    async def sleep(seconds: float) -> None:
        asked_s.append(seconds)
        await asyncio.sleep(0)

    hub.scripts = [taken_again]
    listener = Evicted()
    link = linked(hub, listener, contest_rest_s=contest_rest_s, sleep=sleep)
    async with running(link.run()):
        await until(lambda: listener.begun >= connections)
    return asked_s[:connections]


async def test_after_the_third_eviction_each_try_comes_after_a_long_rest(hub: ScriptedHub) -> None:
    asked_s = await pauses(hub, 6, contest_rest_s=HOUR_S)

    assert asked_s[:3] == [0.0, 5.0, 10.0]
    assert asked_s[3:] == [HOUR_S] * 3


@pytest.mark.parametrize("turns", range(8))
async def test_a_link_that_is_stopped_while_its_connection_ends_does_stop(
    hub: ScriptedHub, turns: int
) -> None:
    hub.scripts = [stays]
    link = linked(hub, Evicted(), contest_rest_s=0.0, sleep=asyncio.sleep)
    async with running(link.run()) as task:
        await until(lambda: link.health().is_connected)
        link.rebuild("GatewayLogout: a test")
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.wait([task])

        assert task.cancelled()


async def test_a_gatekeeper_comes_back_for_ever(hub: ScriptedHub) -> None:
    asked_s = await pauses(hub, 6, contest_rest_s=0.0)

    assert asked_s == [0.0, 5.0, 10.0, 15.0, 15.0, 15.0]


@pytest.mark.parametrize(
    ("apart_ns", "contested"), [(WINDOW_NS // 3, True), (WINDOW_NS // 2, False)]
)
def test_only_evictions_of_the_last_hour_count(apart_ns: int, *, contested: bool) -> None:
    evictions_ns: tuple[int, ...] = ()
    for number in range(EVICTIONS_MAX):
        assert is_contested(evictions_ns) is False
        evictions_ns = lately(evictions_ns, number * apart_ns)
    assert is_contested(evictions_ns) is contested


def test_one_try_after_each_rest_stays_a_contest() -> None:
    evictions_ns: tuple[int, ...] = ()
    for number in range(10):
        evictions_ns = lately(evictions_ns, number * int(REST_S) * 1_000_000_000)
        assert is_contested(evictions_ns) is (number >= EVICTIONS_MAX - 1)
        assert len(evictions_ns) <= EVICTIONS_MAX
