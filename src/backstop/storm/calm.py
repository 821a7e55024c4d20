"""The calm after the storm: everything comes right, and the program is stopped and has it all."""

import asyncio
from typing import Final

from backstop.storm.liveness import SETTLE_S
from backstop.storm.world import World

LOOKS: Final = 3
"""In a row, a second apart, find everything right."""


async def come_to_rest(world: World) -> None:
    """Wait until all has come right, and stop the program as a person does.

    A liquidation with a process of its own ends by itself: nobody stops it. What it trades after
    the guard has ended no record can have yet; the next start writes it down, so there is one.
    """
    await _settle(world)
    traded = set(world.truth.trades)
    await world.host.stop()
    if not world.unsettled and set(world.truth.trades) != traded:
        world.host.start_again()
        await _settle(world)


async def _settle(world: World) -> None:
    began_s = world.now_s()
    good = 0
    while good < LOOKS and world.now_s() - began_s < SETTLE_S:
        await asyncio.sleep(1.0)
        left = world.differences()
        good = 0 if left else good + 1
    world.settled_s += world.now_s() - began_s
    world.unsettled = tuple(left)
