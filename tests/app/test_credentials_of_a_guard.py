"""What a running guard does with credentials: hands them out, and lets none of them out."""

import pytest
from tests.app.desk import API_KEY, Desk, until

from backstop.adapters.log import STARS
from backstop.adapters.projectx_server import signalr
from backstop.config.secret import Secret
from backstop.domain.order import OrderState
from backstop.errors import CredentialError
from backstop.simulator.fault_rules import FaultKind

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_guard_hands_out_credentials_by_name(desk: Desk) -> None:
    async with desk.guard(ready=False) as guard:
        found = await guard.manager.get_credential("TOPSTEPX_API_KEY")
        nothing = await guard.manager.try_get_credential("TOPSTEPX_JWT")
        default = await guard.manager.get_credential("TOPSTEPX_JWT", default="a-default")

        with pytest.raises(CredentialError, match="TOPSTEPX_JWT: no source has it"):
            await guard.manager.get_credential("TOPSTEPX_JWT")

    assert (found, nothing, default) == (Secret(API_KEY), None, Secret("a-default"))
    assert str(found) == STARS


async def test_a_venue_that_repeats_our_key_does_not_bring_it_into_the_record(desk: Desk) -> None:
    async with desk.guard() as guard:
        desk.mischief(
            "Order/place",
            FaultKind.ERROR_CODE,
            code=2,
            message=f"refused for {API_KEY}",
            accepted=False,
        )
        order = await guard.send(guard.request())
        await guard.reaches(order.client_order_id, OrderState.REJECTED)

        assert f"refused for {STARS}" in repr(guard.book.orders[order.client_order_id])
    written = [path for path in desk.folder.rglob("*") if path.is_file()]
    assert written
    assert [it.name for it in written if API_KEY.encode() in it.read_bytes()] == []


async def test_a_hub_that_repeats_our_key_does_not_bring_it_into_the_record(desk: Desk) -> None:
    """What is not understood is kept word for word: the one place where a key could last."""
    target = "GatewayUserOrder"
    echo = f'{{"id":1,"echo":"{API_KEY}"}}'.encode()
    async with desk.guard():
        desk.venue.server.user_hub.broadcast(
            (target, desk.account), signalr.invocation(target, echo)
        )
        await until(lambda: _is_written(desk, b"echo"), "the record has it")
    assert not _is_written(desk, API_KEY.encode())


def _is_written(desk: Desk, words: bytes) -> bool:
    return any(words in path.read_bytes() for path in desk.folder.rglob("*") if path.is_file())
