"""A changed credential is taken up while the guard runs; one that is wrong costs nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from tests.app.desk import API_KEY, USER, Desk, until

from backstop.adapters.clock import SystemClock
from backstop.adapters.projectx.gateway import ProjectXGateway
from backstop.app.credential_rotation import CredentialRotation
from backstop.config.credential_manager import API_KEY as KEY
from backstop.config.credential_manager import EMERGENCY_API_KEY as SPARE
from backstop.config.credential_manager import JWT, CredentialManager, MappingSource
from backstop.config.secret import Secret

pytestmark = pytest.mark.asyncio(loop_scope="module")

NEW_KEY = "key-after-the-rotation"
OTHER_KEY = "key-of-somebody-else"


@dataclass
class Rotating:
    """A session at the simulated venue, and the sources of its credentials."""

    gateway: ProjectXGateway
    rotation: CredentialRotation
    values: dict[str, str]
    faults: list[str]
    secrets: list[Secret]
    refused: bool = False
    liquidating: bool = False

    async def token(self) -> str:
        return (await self.gateway.session.token()).reveal()


@asynccontextmanager
async def rotating(desk: Desk) -> AsyncIterator[Rotating]:
    values, faults, secrets = {KEY: API_KEY}, list[str](), list[Secret]()
    async with ProjectXGateway(
        api_url=desk.venue.url, user_name=USER, clock=SystemClock(), api_key=Secret(API_KEY)
    ) as gateway:
        made: Rotating
        rotation = CredentialRotation(
            manager=CredentialManager([MappingSource("environment", values)]),
            session=gateway.session,
            held={KEY: Secret(API_KEY), JWT: None, SPARE: None},
            is_refused=lambda: made.refused,
            may_change=lambda: not made.liquidating,
            on_secret=secrets.append,
            on_fault=faults.append,
            look_every_s=0.02,
            look_again_s=0.01,
        )
        made = Rotating(gateway, rotation, values, faults, secrets)
        try:
            yield made
        finally:
            desk.venue.server.set_keys(USER, API_KEY)


async def test_a_changed_key_is_noticed_and_used(desk: Desk) -> None:
    async with rotating(desk) as here:
        before = await here.token()
        running = asyncio.create_task(here.rotation.run())
        desk.venue.server.set_keys(USER, API_KEY, NEW_KEY)

        here.values[KEY] = NEW_KEY
        here.faults.clear()
        await until(lambda: here.secrets != [] and "" in here.faults, here.faults.copy)
        running.cancel()
        assert await here.token() != before
    assert here.secrets[0] == Secret(NEW_KEY), "struck out of the log before it is used"
    assert not any(here.faults)


async def test_a_changed_key_that_is_wrong_costs_nothing_and_is_tried_once(desk: Desk) -> None:
    async with rotating(desk) as here:
        before = await here.token()
        here.values[KEY] = OTHER_KEY

        await here.rotation.look()
        first = here.faults[-1]
        await here.rotation.look()

        assert await here.token() == before
    assert "the changed TOPSTEPX_API_KEY was refused, the one before stays" in first
    assert OTHER_KEY not in first
    assert (
        here.faults[-1] == "the changed TOPSTEPX_API_KEY was refused; the one before stays in use"
    )


async def test_nothing_that_works_is_changed_inside_a_liquidation(desk: Desk) -> None:
    async with rotating(desk) as here:
        before = await here.token()
        desk.venue.server.set_keys(USER, API_KEY, NEW_KEY)
        here.values[KEY] = NEW_KEY
        here.liquidating = True

        await here.rotation.look()
        assert await here.token() == before

        here.refused = True  # now it does not work: a new key can only help
        await here.rotation.look()
        assert await here.token() != before


@pytest.mark.parametrize("value", ["", "your_api_key_here", "'quoted'"])
async def test_a_value_that_cannot_be_a_key_is_not_tried(desk: Desk, value: str) -> None:
    async with rotating(desk) as here:
        before = await here.token()
        here.values[KEY] = value

        await here.rotation.look()

        assert await here.token() == before
    assert here.secrets == []


async def test_a_spare_key_and_a_token_can_come_later(desk: Desk) -> None:
    async with rotating(desk) as here:
        token = await here.token()
        here.values[SPARE] = "spare-key-of-tonight"
        here.values[JWT] = token

        await here.rotation.look()

        assert here.gateway.session.spare_key == Secret("spare-key-of-tonight")
        assert await here.token() == token
