"""A set-up looked at from outside and from inside, in front of a real venue that has its faults."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.app.desk import Desk, a_venue, until

from backstop.adapters.clock import SystemClock
from backstop.adapters.lock import AccountLock
from backstop.app.set_up import looked_at
from backstop.core.check import Check, CheckName, CheckStatus, worst
from backstop.core.set_up_checks import checks
from backstop.domain.set_up import LockLook
from backstop.simulator.fault_rules import FaultKind, HubName
from backstop.simulator.process import Simulator

pytestmark = pytest.mark.asyncio(loop_scope="module")

OK, WARN, FAIL = CheckStatus.OK, CheckStatus.WARN, CheckStatus.FAIL

TIMED = {CheckName.DISK, CheckName.LOGIN, CheckName.USER_HUB, CheckName.MARKET_HUB}
"""A busy machine may make these slow, which is a warning."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue() -> AsyncIterator[Simulator]:
    """Return a venue whose time goes by as ours does: its clock is one of the checks."""
    async with a_venue(speed=1.0) as venue:
        yield venue


async def looked(desk: Desk, *, not_looked: str = "", **settings: object) -> dict[CheckName, Check]:
    """Return the verdicts on the desk's set-up, by name."""
    setup = await looked_at(
        desk.settings(**settings),
        clock=SystemClock(),
        lock=LockLook(account_id=desk.account),
        not_looked=not_looked,
    )
    return {it.check: it for it in checks(setup)}


async def test_a_sound_set_up_is_found_sound_and_no_order_is_sent(desk: Desk) -> None:
    found = await looked(desk)

    assert list(found) == list(CheckName)
    assert {it.status for name, it in found.items() if name not in TIMED} == {OK}
    assert FAIL not in {it.status for it in found.values()}
    assert f"PRAC-{desk.account} may trade, balance 150,000.00" in found[CheckName.ACCOUNT].finding
    assert found[CheckName.GATES].value == "SENDING"
    assert desk.orders() == []
    assert not (desk.folder / "state").exists()


async def test_a_skewed_clock_fails_by_what_the_venue_says(desk: Desk) -> None:
    desk.mischief("now", FaultKind.SKEW_CLOCK, skew_s=-60)
    found = await looked(desk, CLOCK_OFFSET_MAX_SECONDS=5)

    assert found[CheckName.CLOCK].status is FAIL
    assert int(found[CheckName.CLOCK].value or 0) < -5_000


async def test_a_venue_that_hides_its_clock_is_told(desk: Desk) -> None:
    desk.mischief("now", FaultKind.HIDE_CLOCK)

    assert (await looked(desk))[CheckName.CLOCK].status is WARN


async def test_a_wrong_key_fails_the_login_and_the_rest_is_not_judged(desk: Desk) -> None:
    found = await looked(desk, TOPSTEPX_API_KEY="a-key-that-is-not-right")

    assert found[CheckName.LOGIN].status is FAIL
    assert "a-key-that-is-not-right" not in repr(found)
    for name in (CheckName.ACCOUNT, CheckName.USER_HUB, CheckName.MARKET_HUB, CheckName.DATA):
        assert found[name].status is WARN
        assert "there is no login" in found[name].finding
    assert found[CheckName.CLOCK].status is OK  # a refusal bears a date too


async def test_a_token_that_has_ended_fails_the_login(desk: Desk) -> None:
    found = await looked(desk, TOPSTEPX_API_KEY="", TOPSTEPX_JWT="eyJhbGciOi.eyJzdWIi.c2ln")

    assert found[CheckName.LOGIN].status is FAIL
    assert "TOPSTEPX_JWT" in found[CheckName.LOGIN].finding


async def test_an_account_that_is_not_there_is_named_with_those_that_are(desk: Desk) -> None:
    found = await looked(desk, TOPSTEPX_ACCOUNT_ID=12)

    assert found[CheckName.LOGIN].status is OK
    assert found[CheckName.ACCOUNT].status is FAIL
    assert str(desk.account) in found[CheckName.ACCOUNT].finding
    assert found[CheckName.USER_HUB].status is WARN


async def test_a_gateway_that_is_not_there_fails_the_login(desk: Desk) -> None:
    desk.mischief("any_call", FaultKind.RESET_BEFORE, count=None)
    found = await looked(desk)

    assert found[CheckName.LOGIN].status is FAIL
    assert "network" in found[CheckName.LOGIN].advice
    assert found[CheckName.CLOCK].status is WARN


@pytest.mark.parametrize(
    ("hub", "name", "other"),
    [
        ("user", CheckName.USER_HUB, CheckName.MARKET_HUB),
        ("market", CheckName.MARKET_HUB, CheckName.USER_HUB),
    ],
)
async def test_a_hub_that_refuses_fails_and_the_other_does_not(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, hub: str, name: CheckName, other: CheckName
) -> None:
    monkeypatch.setattr("backstop.adapters.projectx.set_up_probe.HUBS_LIMIT_S", 1.5)
    desk.mischief(f"hubs/{hub}/negotiate", FaultKind.HTTP_ERROR, http_status=503, count=None)
    found = await looked(desk)

    assert (found[name].status, found[other].status) == (FAIL, OK)
    assert "503" in found[name].finding


async def test_a_session_that_another_one_takes_is_told(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backstop.adapters.projectx.set_up_probe.LISTEN_S", 1.0)
    desk.mischief("now", FaultKind.FREEZE_QUOTES)  # so that it listens for a while
    looking = asyncio.create_task(looked(desk))

    def evicted() -> bool:
        desk.mischief("now", FaultKind.LOGOUT, hub=HubName.USER)
        return looking.done()

    await until(evicted, "the end of the look")
    user_hub = (await looking)[CheckName.USER_HUB]

    assert user_hub.status is FAIL
    assert "another session of this user took it" in user_hub.finding


async def test_market_data_that_stands_still_is_stale(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backstop.adapters.projectx.set_up_probe.LISTEN_S", 0.5)
    desk.mischief("now", FaultKind.FREEZE_QUOTES, contract="CON.F.US.MNQ")
    quiet = await looked(desk)
    stale = await looked(desk, STALE_QUOTE_MS=250)

    assert (quiet[CheckName.DATA].status, stale[CheckName.DATA].status) == (WARN, FAIL)
    assert "MNQ none within" in stale[CheckName.DATA].finding


async def test_a_symbol_that_no_contract_goes_by_is_named(desk: Desk) -> None:
    found = await looked(desk, BACKSTOP_INSTRUMENTS="MES,XYZ")

    assert found[CheckName.DATA].status is FAIL
    assert ", XYZ: no active contract" in found[CheckName.DATA].finding


async def test_without_a_login_nothing_is_contacted(desk: Desk) -> None:
    desk.mischief("any_call", FaultKind.RESET_BEFORE, count=None)
    found = await looked(desk, not_looked="nobody wants it")

    assert desk.strikes(FaultKind.RESET_BEFORE) == 0
    assert found[CheckName.LOGIN].finding == "not checked: nobody wants it"
    assert (found[CheckName.DISK].status, found[CheckName.GATES].status) == (OK, OK)


async def test_a_kill_file_and_a_folder_that_is_none_are_told(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "STOP").touch()
    (tmp_path / "state").write_text("a file")
    found = await looked(desk, not_looked="-", KILL_FILE=tmp_path / "STOP")

    assert found[CheckName.GATES].status is WARN
    assert found[CheckName.DISK].status is FAIL


# -- inside a guard --------------------------------------------------------------------------------


async def test_a_guard_tells_the_same_of_itself_without_another_login(desk: Desk) -> None:
    desk.mischief("Auth/loginKey", FaultKind.DELAY_RESPONSE, delay_ms=1, count=None)
    async with desk.guard("ES", "NQ", "MNQ") as guard:
        found = checks(guard.manager.set_up())

        assert worst(found) is not FAIL, found
        assert {it.status for it in found if it.check not in TIMED} == {OK}
        assert [it.check for it in found] == list(CheckName)
        assert f"(process {os.getpid()})" in found[2].finding
        assert desk.strikes(FaultKind.DELAY_RESPONSE) == 1


async def test_a_guard_names_a_symbol_that_no_contract_goes_by(desk: Desk) -> None:
    async with desk.guard(BACKSTOP_INSTRUMENTS="MES,XYZ") as guard:
        found = {it.check: it for it in checks(guard.manager.set_up())}

    assert found[CheckName.DATA].status is FAIL
    assert ", XYZ: no active contract" in found[CheckName.DATA].finding


async def test_a_halted_guard_without_a_hub_says_so(desk: Desk) -> None:
    async with desk.guard("ES", "NQ", "MNQ") as guard:
        await guard.manager.halt(reason="the news", operator="Ann")
        desk.mischief("hubs/market/negotiate", FaultKind.HTTP_ERROR, http_status=503, count=None)
        desk.mischief("now", FaultKind.HUB_RESET, hub=HubName.MARKET)
        await until(lambda: not guard.book.links.market_up, "the hub is lost")
        found = {it.check: it for it in checks(guard.manager.set_up())}

    assert found[CheckName.MARKET_HUB].status is FAIL
    assert found[CheckName.GATES].status is WARN
    assert "halted by Ann: the news" in found[CheckName.GATES].finding


async def test_a_guard_that_could_not_log_in_yet_says_what_it_does_not_know(desk: Desk) -> None:
    desk.mischief("any_call", FaultKind.RESET_BEFORE, count=None)
    async with desk.guard(ready=False) as guard:
        found = {it.check: it for it in checks(guard.manager.set_up())}

    assert found[CheckName.LOGIN].status is FAIL
    assert "not read the account yet" in found[CheckName.ACCOUNT].finding
    assert found[CheckName.USER_HUB].status is FAIL


async def test_the_lock_is_free_again_after_a_look(desk: Desk) -> None:
    await looked(desk)
    host = desk.venue.url.removeprefix("http://")
    with AccountLock(gateway_host=host, account=str(desk.account)):
        pass


async def test_a_folder_with_the_record_of_another_account_is_named_as_the_start_names_it(
    desk: Desk,
) -> None:
    async with desk.guard():
        pass
    another = await looked(desk, not_looked="another login", TOPSTEPX_ACCOUNT_ID=desk.account + 1)
    own = await looked(desk, not_looked="the same login")

    assert own[CheckName.GATES].status is OK
    assert another[CheckName.GATES].status is FAIL
    assert f"holds the record of account {desk.account}" in another[CheckName.GATES].finding
    assert "BACKSTOP_STATE_DIR" in another[CheckName.GATES].finding
