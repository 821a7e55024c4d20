"""Section L: a key that is revoked while something is open. The hunt for secrets plays L2."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.acceptance.scenarios.stage import alerts, net, stop_legs, struck
from tests.adapters.vaults.servers import an_aws, aws_owner
from tests.app.desk import API_KEY, USER, Desk, until

from backstop.core.step import DecisionKind
from backstop.core.trading_state import Condition
from backstop.domain.denial import DenialCode
from backstop.domain.order import OrderState, Side
from backstop.simulator.fault_rules import FaultKind

pytestmark = pytest.mark.asyncio(loop_scope="module")

SPARE_KEY = "spare-key-for-the-way-out"
NEW_KEY = "key-that-was-stored-while-it-ran"


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


async def _rotates_with_a_position(
    desk: Desk, keep: Callable[[str], object], **source: object
) -> None:
    """Change the key at the venue and where it is kept, while a position with its stop is open."""
    keep(API_KEY)
    async with desk.guard(TOPSTEPX_API_KEY="", **source) as guard:
        await guard.enter(quantity=1)
        await until(lambda: stop_legs(desk) == 1, "the stop works")
        contract_id = guard.instrument("MES").contract_id
        await until(
            lambda: not guard.book.position(contract_id).naked_since_ns,
            "the guard has heard of it: nobody will tell it while it is not let in",
        )
        # A delay of nothing: it counts the logins.
        desk.mischief("Auth/loginKey", FaultKind.DELAY_REQUEST, count=None)
        try:
            keep(NEW_KEY)
            desk.venue.server.set_keys(USER, NEW_KEY)
            desk.mischief("now", FaultKind.KILL_TOKENS, drop=True)
            await until(lambda: "LOGIN_REFUSED" in alerts(guard), lambda: alerts(guard))
            assert (net(desk), stop_legs(desk)) == (1, 1), "the stop needs no key"

            await guard.ready("MES")  # the new key was found, and both hubs speak again
            logins = struck(desk, FaultKind.DELAY_REQUEST, "Auth/loginKey")
            # The old key only where its last login is some seconds past.
            assert logins in {1, 2}, "each key once, for REST and both hubs"
            assert (guard.position(), net(desk), stop_legs(desk)) == (1, 1, 1)
            await guard.enter(Side.BUY, quantity=1)
            assert guard.position() == 2
            await guard.agrees()
        finally:
            desk.venue.server.set_keys(USER, API_KEY)
    assert NEW_KEY.encode() not in b"".join(
        it.read_bytes() for it in (desk.folder / "state").rglob("*") if it.is_file()
    )


async def test_a_key_changed_in_a_secret_file_is_taken_up_with_a_position_open(
    desk: Desk, tmp_path: Path
) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    path = folder / "topstepx-api-key"
    path.touch(mode=0o600)
    await _rotates_with_a_position(desk, path.write_text, BACKSTOP_SECRETS_DIR=folder)


async def test_a_key_changed_in_a_vault_is_taken_up_with_a_position_open(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with an_aws() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        owner = aws_owner(environment)
        secret = owner.create_secret(Name="desk", SecretString="{}")["ARN"]

        def keep(key: str) -> None:
            text = json.dumps({"topstepx-api-key": key})
            owner.put_secret_value(SecretId=secret, SecretString=text)

        await _rotates_with_a_position(desk, keep, AWS_SECRET_ID=secret)
