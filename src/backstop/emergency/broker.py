"""The way to the broker for a process of its own: its own session, and no hub.

A second login may evict the first session, so nobody comes here before the guard is gone.
"""

import asyncio
from collections.abc import Callable, Iterator

from backstop.adapters.projectx.gateway import ProjectXGateway
from backstop.config.secret import Secret
from backstop.config.settings import Settings
from backstop.domain.broker import BrokerAccount
from backstop.domain.instrument import Instrument
from backstop.errors import GatewayError, GatewayUnreachableError, LoginRefusedError
from backstop.ports import Clock, FactSink

AGAIN_S = 0.5
"""Pause before a gateway that could not be reached is tried again."""


class Broker:
    """A gateway that let us in, its account and its contracts."""

    def __init__(
        self, gateway: ProjectXGateway, account: BrokerAccount, instruments: tuple[Instrument, ...]
    ) -> None:
        self.gateway = gateway
        self.account = account
        self.instruments = instruments


async def logged_in(
    settings: Settings, *, clock: Clock, sink: FactSink, say: Callable[[str], None]
) -> Broker:
    """Return the broker, once it lets us in; tries for as long as it is not cancelled.

    A refused first key makes room for ``TOPSTEPX_EMERGENCY_API_KEY``. That the account is there is
    asked too: the empty lists of an account that is not ours would look flat.

    Raises:
        LoginRefusedError: every key was refused; says what was said to each.
        GatewayAnswerError: the gateway has no such account.
    """
    refusals: list[str] = []
    for name, key, token in _ways_in(settings):
        gateway = ProjectXGateway(
            api_url=settings.api_url,
            user_name=settings.user_name,
            api_key=key,
            token=token,
            clock=clock,
            sink=sink,
        )
        try:
            return await _greeted(gateway, settings.account_id, say)
        except LoginRefusedError as error:
            await gateway.close()
            refusals.append(f"{name}: {error}")
            say(refusals[-1])
        except BaseException:
            await gateway.close()
            raise
    raise LoginRefusedError(" ".join(refusals))


def _ways_in(settings: Settings) -> Iterator[tuple[str, Secret | None, Secret | None]]:
    """Yield names, keys and tokens in the order in which they are tried."""
    if settings.api_key is not None:
        yield "TOPSTEPX_API_KEY", settings.api_key, None
    if settings.token is not None:
        yield "TOPSTEPX_JWT", None, settings.token
    if settings.emergency_api_key is not None:
        yield "TOPSTEPX_EMERGENCY_API_KEY", settings.emergency_api_key, None


async def _greeted(gateway: ProjectXGateway, account_id: int, say: Callable[[str], None]) -> Broker:
    told = ""
    while True:
        try:
            account = await gateway.account(account_id)
            return Broker(gateway, account, await _instruments(gateway, say))
        except GatewayUnreachableError as error:
            if str(error) != told:
                told = str(error)
                say(f"{told.rstrip('.')}. It is tried again.")
        await asyncio.sleep(AGAIN_S)


async def _instruments(
    gateway: ProjectXGateway, say: Callable[[str], None]
) -> tuple[Instrument, ...]:
    """Return the contracts; a position is closed by its id, so a failed list holds nothing up."""
    try:
        return await gateway.instruments()
    except LoginRefusedError:
        raise
    except GatewayError as error:
        say(f"The list of contracts cannot be read: {error}")
        return ()
