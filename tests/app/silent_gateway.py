"""A gateway that takes connections and never answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class SilentGateway:
    """Where it listens; ``hung_up`` is set when the first caller has lost patience."""

    url: str = ""
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)

    async def listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hear a caller to the end, and say nothing."""
        try:
            while await reader.read(65_536):
                pass
        finally:
            self.hung_up.set()
            writer.close()


@asynccontextmanager
async def a_silent_gateway() -> AsyncIterator[SilentGateway]:
    gateway = SilentGateway()
    async with await asyncio.start_server(gateway.listen, "127.0.0.1", 0) as server:
        gateway.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield gateway
