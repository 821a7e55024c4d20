"""A venue in a process of its own, as a broker is: it answers at once and counts no calls.

The recorded delays of the real venue are left out, so that what is measured is the guard.
``python venue.py SLICES GAP_US`` prints its address and ends when its standard input does.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backstop.adapters.projectx_server.config import ServerConfig
from backstop.simulator.exchange_config import ExchangeConfig, PartialFill
from backstop.simulator.process import Simulator, SimulatorConfig

USER, API_KEY = "bench", "key-of-the-measured-venue"


@contextmanager
def a_venue(*, slices: int = 1, gap_us: int = 0) -> Iterator[str]:
    """Run a venue that fills each order in ``slices`` parts ``gap_us`` apart; gives its address."""
    command = [sys.executable, str(Path(__file__)), str(slices), str(gap_us)]
    with subprocess.Popen(  # noqa: S603 - our own interpreter and file
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("a process with pipes has none")
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


async def _serve(slices: int, gap_us: int) -> None:
    config = SimulatorConfig(
        user=USER,
        api_key=API_KEY,
        server=ServerConfig(general_limit=None, bars_limit=None),
        exchange=ExchangeConfig(
            seed=0,
            accounts=(),
            contracts=(),
            market_fill_us=(0, 0),
            position_row_us=(0, 0),
            partial_fill=PartialFill.SLICES if slices > 1 else PartialFill.NEVER,
            fill_slices=slices,
            slice_gap_us=gap_us,
        ),
    )
    async with Simulator(config) as simulator:
        sys.stdout.write(f"{simulator.url}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2])))
