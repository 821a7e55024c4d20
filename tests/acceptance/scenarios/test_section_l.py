"""Section L: a key that is revoked while something is open. The hunt for secrets plays L2."""

import pytest
from tests.acceptance.scenarios.stage import alerts, net, stop_legs, struck
from tests.app.desk import API_KEY, USER, Desk, until

from backstop.core.step import DecisionKind
from backstop.core.trading_state import Condition
from backstop.domain.denial import DenialCode
from backstop.domain.order import OrderState, Side
from backstop.simulator.fault_rules import FaultKind

pytestmark = pytest.mark.asyncio(loop_scope="module")

SPARE_KEY = "spare-key-for-the-way-out"


@pytest.mark.scenario("L1")
@pytest.mark.parametrize("spare", [True, False], ids=["with a spare key", "without one"])
async def test_a_revoked_key_pages_at_once_and_leaves_the_way_out(
    desk: Desk, *, spare: bool
) -> None:
    keys = {"TOPSTEPX_EMERGENCY_API_KEY": SPARE_KEY} if spare else {}
    async with desk.guard(**keys) as guard:
        await guard.enter(quantity=1)
        await until(lambda: stop_legs(desk) == 1, "the stop works")
        try:
            desk.venue.server.set_keys(USER, *([SPARE_KEY] if spare else []))
            desk.mischief("now", FaultKind.KILL_TOKENS, drop=True)
            await until(lambda: "LOGIN_REFUSED" in alerts(guard), lambda: alerts(guard))

            assert (
                Condition.LOGIN_REFUSED in guard.book.readiness(guard.manager.now_ns()).conditions
            )
            entry = await guard.manager.submit_order(guard.request(quantity=1))
            assert DenialCode.STATE_REDUCING in {it.code for it in entry.denials}
            assert (net(desk), stop_legs(desk)) == (1, 1), "the stop needs no key"
            assert alerts(guard).count("LOGIN_REFUSED") == 1
            if spare:
                out = await guard.manager.submit_order(
                    guard.request(Side.SELL, quantity=1, protected=False)
                )
                assert out.kind is DecisionKind.ACCEPTED, out.denials
                assert out.order is not None
                await guard.reaches(out.order.client_order_id, OrderState.FILLED)
                assert net(desk) == 0
        finally:
            desk.venue.server.set_keys(USER, API_KEY)
        assert struck(desk, FaultKind.KILL_TOKENS, "now") == 1
