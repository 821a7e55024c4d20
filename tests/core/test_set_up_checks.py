"""What is said of a set-up, for each thing that was measured of it."""

import pytest
from msgspec.structs import replace

from backstop.core.check import Check, CheckName, CheckStatus, worst
from backstop.core.set_up_checks import (
    DISK_SLOW_US,
    DISK_UNUSABLE_US,
    FREE_FEW_BYTES,
    FREE_TOO_FEW_BYTES,
    HUB_SLOW_MS,
    LOGIN_SLOW_MS,
    checks,
)
from backstop.domain.events import Hub
from backstop.domain.set_up import (
    AccountLook,
    ClockLook,
    DataLook,
    DiskLook,
    GatesLook,
    Holder,
    HubLook,
    LockLook,
    LoginLook,
    SetUp,
)

OK, WARN, FAIL = CheckStatus.OK, CheckStatus.WARN, CheckStatus.FAIL
ES = DataLook(symbol="ES", age_ms=40, limit_ms=2_000, listened_ms=3_000, is_open=True)
DISK = DiskLook(folder="state", writes=20, typical_us=1_500, slowest_us=3_000)
GATES = GatesLook(dry_run=False, execute=True, observe_only=False)
SOUND = SetUp(
    disk=DISK,
    lock=LockLook(account_id=7),
    gates=GATES,
    clock=ClockLook(offset_ms=120, limit_ms=5_000),
    login=LoginLook(took_ms=130),
    account=AccountLook(account_id=7, name="PRAC-7", balance_micros=150_000_000, can_trade=True),
    hubs=tuple(HubLook(hub=hub, connected=True, took_ms=90) for hub in Hub),
    data=(ES,),
)


def check(name: CheckName, **changes: object) -> Check:
    """Return one verdict on the sound set-up with something changed."""
    return next(it for it in checks(replace(SOUND, **changes)) if it.check is name)


def test_a_sound_set_up_has_one_line_for_each_check_and_nothing_to_do() -> None:
    found = checks(SOUND)

    assert [it.check for it in found] == list(CheckName)
    assert {it.status for it in found} == {OK}
    assert {it.advice for it in found} == {""}
    assert worst(found) is OK


def test_the_whole_is_as_good_as_its_worst_part() -> None:
    warned = checks(replace(SOUND, clock=ClockLook(offset_ms=None, limit_ms=5_000)))
    failed = checks(
        replace(
            SOUND,
            clock=ClockLook(offset_ms=None, limit_ms=5_000),
            disk=DiskLook(folder="state", fault="read-only"),
        )
    )

    assert (worst(warned), worst(failed)) == (WARN, FAIL)


def test_what_slow_answers_leave_open_is_told_and_not_held_against_a_clock() -> None:
    slow = ClockLook(offset_ms=1_097, limit_ms=1_000, uncertainty_ms=1_600)
    quick = ClockLook(offset_ms=1_097, limit_ms=1_000, uncertainty_ms=500)

    assert check(CheckName.CLOCK, clock=slow).status is OK
    assert "true to 1600 ms" in check(CheckName.CLOCK, clock=slow).finding
    assert check(CheckName.CLOCK, clock=quick).status is FAIL


@pytest.mark.parametrize(
    ("offset_ms", "limit_ms", "status"),
    [
        (-2_500, 5_000, OK),
        (2_501, 5_000, WARN),
        (-5_000, 5_000, WARN),
        (-5_001, 5_000, FAIL),
        (5_000, 0, OK),
        (90_000, 0, WARN),
        (None, 5_000, WARN),
    ],
)
def test_the_clock_is_told_before_it_stops_entries(
    offset_ms: int | None, limit_ms: int, status: CheckStatus
) -> None:
    found = check(CheckName.CLOCK, clock=ClockLook(offset_ms=offset_ms, limit_ms=limit_ms))

    assert found.status is status
    assert bool(found.advice) is (status is not OK)
    if offset_ms is not None:
        assert (found.value, found.unit) == (f"{offset_ms:+d}", "ms")


@pytest.mark.parametrize(
    ("look", "status"),
    [
        (replace(DISK, typical_us=DISK_SLOW_US), OK),
        (replace(DISK, typical_us=DISK_SLOW_US + 1), WARN),
        (replace(DISK, slowest_us=2 * DISK_SLOW_US + 2), WARN),
        (replace(DISK, typical_us=DISK_UNUSABLE_US + 1), FAIL),
        (replace(DISK, free_bytes=FREE_FEW_BYTES), OK),
        (replace(DISK, free_bytes=FREE_FEW_BYTES - 1), WARN),
        (replace(DISK, free_bytes=FREE_TOO_FEW_BYTES - 1), FAIL),
        (DiskLook(folder="state"), OK),
        (DiskLook(folder="state", fault="it is read-only"), FAIL),
    ],
)
def test_a_disk_must_be_there_fast_and_have_room(look: DiskLook, status: CheckStatus) -> None:
    found = check(CheckName.DISK, disk=look)

    assert found.status is status
    assert bool(found.advice) is (status is not OK)


def test_bounds_are_told_as_bounds() -> None:
    found = check(CheckName.DISK, disk=replace(DISK, bounds=True))

    assert found.value == "1.5"
    assert "half of 20 records were on disk, 19 of 20 within 3.0 ms" in found.finding


@pytest.mark.parametrize(
    ("look", "status", "words"),
    [
        (LockLook(account_id=7), OK, "no guard holds account 7"),
        (LockLook(account_id=7, holder=Holder.GUARD, process_id=42), OK, "(process 42)"),
        (LockLook(account_id=7, holder=Holder.SILENT, process_id=42), FAIL, "does not answer"),
        (LockLook(account_id=7, fault="not yours"), FAIL, "not yours"),
        (LockLook(account_id=0), WARN, "TOPSTEPX_ACCOUNT_ID"),
    ],
)
def test_the_lock_says_who_may_send(look: LockLook, status: CheckStatus, words: str) -> None:
    found = check(CheckName.LOCK, lock=look)

    assert found.status is status
    assert words in found.finding


@pytest.mark.parametrize(
    ("look", "status"),
    [
        (LoginLook(), OK),
        (LoginLook(took_ms=LOGIN_SLOW_MS), OK),
        (LoginLook(took_ms=LOGIN_SLOW_MS + 1), WARN),
        (LoginLook(fault="refused with code 3."), FAIL),
    ],
)
def test_a_login_is_accepted_slow_or_refused(look: LoginLook, status: CheckStatus) -> None:
    assert check(CheckName.LOGIN, login=look).status is status


def test_a_gateway_that_was_not_reached_says_nothing_of_the_credentials() -> None:
    refused = check(CheckName.LOGIN, login=LoginLook(fault="refused"))
    unreached = check(CheckName.LOGIN, login=LoginLook(fault="no connection", reached=False))

    assert "credentials check" in refused.advice
    assert "network" in unreached.advice


def test_an_account_that_may_not_trade_fails() -> None:
    shut = check(CheckName.ACCOUNT, account=AccountLook(account_id=7, name="PRAC-7"))
    missing = check(CheckName.ACCOUNT, account=AccountLook(account_id=7, fault="there is none."))

    assert (shut.status, missing.status) == (FAIL, FAIL)
    assert "may NOT trade" in shut.finding
    assert missing.finding == "there is none"


def test_each_hub_has_a_line_of_its_own() -> None:
    hubs = (
        HubLook(hub=Hub.USER, connected=True, took_ms=HUB_SLOW_MS + 1),
        HubLook(hub=Hub.MARKET, fault="negotiation refused"),
    )

    assert check(CheckName.USER_HUB, hubs=hubs).status is WARN
    market = check(CheckName.MARKET_HUB, hubs=hubs)
    assert market.status is FAIL
    assert "negotiation refused" in market.finding
    assert "TOPSTEPX_MARKET_HUB_URL" in market.advice


@pytest.mark.parametrize(
    ("look", "status", "words"),
    [
        (ES, OK, "ES 40 ms ago"),
        (replace(ES, age_ms=2_001), FAIL, "ES 2001 ms ago"),
        (replace(ES, age_ms=2_001, is_open=False), WARN, "(closed)"),
        (replace(ES, age_ms=None), FAIL, "none within 3.0 s"),
        (replace(ES, age_ms=None, limit_ms=30_000), WARN, "none within 3.0 s"),
        (replace(ES, age_ms=None, listened_ms=None), FAIL, "none yet"),
        (replace(ES, age_ms=None, is_open=False), WARN, "(closed)"),
        (replace(ES, age_ms=None, fault="no contract"), FAIL, ", ES: no contract"),
    ],
)
def test_silence_is_a_fault_only_where_the_market_speaks(
    look: DataLook, status: CheckStatus, words: str
) -> None:
    found = check(CheckName.DATA, data=(replace(ES, symbol="NQ"), look))

    assert found.status is status
    assert words in found.finding
    assert "NQ 40 ms ago" in found.finding


def test_a_symbol_without_a_contract_is_no_matter_of_the_data_subscription() -> None:
    unknown = replace(ES, symbol="XYZ", age_ms=None, fault="no contract")
    misnamed = check(CheckName.DATA, data=(ES, unknown))
    both = check(CheckName.DATA, data=(replace(ES, age_ms=2_001), unknown))

    assert "BACKSTOP_INSTRUMENTS" in misnamed.advice
    assert "subscription" not in misnamed.advice
    assert "BACKSTOP_INSTRUMENTS" in both.advice
    assert "subscription" in both.advice


@pytest.mark.parametrize(
    ("look", "status", "value", "words"),
    [
        (GATES, OK, "SENDING", "orders go"),
        (replace(GATES, dry_run=True, execute=False), OK, "DRY RUN", "nothing is sent"),
        (replace(GATES, execute=False), WARN, "EXECUTE OFF", "one of the two keys"),
        (replace(GATES, dry_run=True), WARN, "DRY RUN", "one of the two keys"),
        (replace(GATES, observe_only=True), WARN, "OBSERVE ONLY", "CRITICAL_SYSTEM_ENABLE=0"),
        (replace(GATES, switched_off=("A_B",)), WARN, "SENDING", "switched off: A_B"),
        (replace(GATES, doubts=("DRYRUN is no setting.",)), WARN, "SENDING", "DRYRUN is no"),
        (replace(GATES, kill_file=True), WARN, "SENDING", "kill file"),
        (replace(GATES, trading_state="ACTIVE"), OK, "SENDING", "trading state ACTIVE"),
        (replace(GATES, reasons=("halted by Ann",)), WARN, "SENDING", "halted by Ann"),
        (replace(GATES, refused="Only here."), FAIL, "SENDING", "Only here"),
    ],
)
def test_the_gates_say_what_leaves_and_what_stops_it(
    look: GatesLook, status: CheckStatus, value: str, words: str
) -> None:
    found = check(CheckName.GATES, gates=look)

    assert (found.status, found.value) == (status, value)
    assert words in found.finding


def test_what_was_not_looked_at_is_neither_good_nor_bad() -> None:
    lock = LockLook(account_id=7)
    found = checks(SetUp(disk=DISK, lock=lock, gates=GATES, not_looked="no login"))

    assert [it.status for it in found if it.finding == "not checked: no login"] == [WARN] * 6
    assert worst(found) is WARN
