"""Each limit that is configured has to refuse an order that breaks it, or nothing is entered."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.core.account_world import DOLLAR, FIFTY, change
from tests.core.builders import Guard, a_guard_start, a_policy

from backstop.app.exposure_limits import exposure_limits
from backstop.app.policy import policy_from_settings
from backstop.config.choices import Profile
from backstop.config.settings import Settings
from backstop.core.account_rules.limits import AccountLimits
from backstop.core.exposure import LimitName
from backstop.core.exposure_book import LIMIT_CHECKS
from backstop.core.limit_trials import broken_limits
from backstop.core.policy import Policy
from backstop.core.state_checkpoint import captured, restored
from backstop.core.trading_state import Condition, TradingState
from backstop.domain.denial import DenialCode
from backstop.domain.order import Side

EVERYTHING = a_policy(
    keeps_hours=True,
    stop_required=True,
    max_order_notional_micros=1_000_000 * DOLLAR,
    price_collar_ppm=50_000,
    prevents_self_trades=True,
    max_repeated_executions=60,
    min_r_multiple=Decimal("1.5"),
    clock_offset_max_us=5_000_000,
    account_limits=AccountLimits(
        starting_balance_micros=FIFTY,
        daily_loss_micros=1_000 * DOLLAR,
        trailing_loss_micros=2_000 * DOLLAR,
        max_position_tenths=50,
        cool_down_after_stops=3,
        cool_down_ns=1,
    ),
    exposure_limits=exposure_limits(
        risk_budget=Decimal(10_000),
        max_correlation_exposure=Decimal("0.7"),
        es_nq_max_combined_exposure=Decimal(5_000),
        max_directional_share=Decimal("0.5"),
    ),
)
"""Every limit there is, at numbers like those of a real account."""


def refuses_nothing(*_: object, **__: object) -> tuple[()]:
    return ()


def fails(*_: object, **__: object) -> tuple[()]:
    raise ZeroDivisionError


RULES = "backstop.core.guardrails"
PIPELINE = "backstop.core.pre_trade"
ACCOUNT = "backstop.core.account_rules.denials"

FUNCTIONS: dict[str, tuple[str, ...]] = {
    f"{RULES}.number_faults": ("NUMBERS",),
    f"{RULES}.bracket_denials": ("BRACKETS",),
    f"{RULES}.reward_denials": ("MIN_R_MULTIPLE",),
    f"{RULES}.stop_denials": ("STOP_REQUIRED",),
    f"{RULES}.size_denials": ("MAX_ORDER_QUANTITY", "MAX_ORDER_NOTIONAL"),
    f"{RULES}.collar_denials": ("PRICE_COLLAR_PERCENT",),
    f"{RULES}.list_denials": ("BACKSTOP_INSTRUMENTS",),
    f"{RULES}._flip": ("ALLOW_FLIP",),
    f"{RULES}.pace_denials": ("DUPLICATE_WINDOW_MS", "MAX_ORDERS_PER_SECOND"),
    f"{RULES}.budget_denials": ("CALLS KEPT FOR EXITS",),
    f"{RULES}.state_denials": ("HALT", "ALLOW_UNPROTECTED"),
    f"{RULES}.gate_denial": ("DRY_RUN", "EXECUTE"),
    f"{RULES}.reference_denials": ("STALE_QUOTE_MS",),
    f"{RULES}.account_age_denials": ("ACCOUNT AGE",),
    f"{PIPELINE}.self_trade_denials": ("SELF TRADE",),
    f"{PIPELINE}.repetition_denials": ("MAX_REPEATED_EXECUTIONS",),
    f"{PIPELINE}.clock_denials": ("CLOCK_OFFSET_MAX_SECONDS",),
    f"{ACCOUNT}._position": ("MAX_POSITION",),
    f"{ACCOUNT}._losses": ("MAX_DAILY_LOSS", "MAX_TRAILING_LOSS"),
    f"{ACCOUNT}._standing_blocks": (
        "MAX_DAILY_LOSS",
        "FIRM LIQUIDATION",
        "COOL_DOWN_AFTER_STOPS",
    ),
}
"""Where each limit is worked out, and the limits that are gone when it refuses nothing."""


def tried(policy: Policy) -> tuple[str, ...]:
    return broken_limits(Guard(policy=policy).book)


def test_limits_that_work_pass_their_trial() -> None:
    assert tried(EVERYTHING) == ()
    assert tried(a_policy()) == ()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_limit_whose_function_refuses_nothing_is_named(
    function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    none = (lambda *_: None) if function.endswith("gate_denial") else refuses_nothing
    monkeypatch.setattr(function, none)

    assert tried(EVERYTHING) == FUNCTIONS[function]


def test_a_calendar_that_lets_everything_through_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{PIPELINE}.market_now", lambda *_: ((), False))

    assert tried(EVERYTHING) == ("BACKSTOP_CALENDAR", "ENTRIES_UNTIL")


def test_a_limit_that_fails_instead_of_refusing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the guard starts all the same: positions have to be looked after."""
    monkeypatch.setattr(f"{RULES}.collar_denials", fails)

    assert "PRICE_COLLAR_PERCENT" in tried(EVERYTHING)


@pytest.mark.parametrize(
    ("limit", "function", "off_by_one"),
    [
        ("MAX_ORDER_QUANTITY", f"{RULES}.size_denials", {"max_order_quantity": 51}),
        ("PRICE_COLLAR_PERCENT", f"{RULES}.collar_denials", {"price_collar_ppm": 50_100}),
        ("MAX_ORDERS_PER_SECOND", f"{RULES}.pace_denials", {"max_orders_per_second": 11}),
        ("MIN_R_MULTIPLE", f"{RULES}.reward_denials", {"min_r_multiple": Decimal("1.4997")}),
    ],
)
def test_a_limit_that_is_only_a_little_too_wide_is_named(
    limit: str, function: str, off_by_one: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    module, _, name = function.rpartition(".")
    real: Callable[..., Any] = getattr(__import__(module, fromlist=[name]), name)
    wider = replace(EVERYTHING, **off_by_one)

    def with_a_wider_limit(*arguments: Any) -> Any:
        return real(*(wider if isinstance(it, Policy) else it for it in arguments))

    monkeypatch.setattr(function, with_a_wider_limit)

    assert tried(EVERYTHING) == (limit,)


@pytest.mark.parametrize(
    ("configured", "function"),
    [
        ({"min_r_multiple": None}, f"{RULES}.reward_denials"),
        ({"price_collar_ppm": None}, f"{RULES}.collar_denials"),
        ({"stop_required": False}, f"{RULES}.stop_denials"),
        ({"account_limits": None}, f"{ACCOUNT}._losses"),
        ({"clock_offset_max_us": 0}, f"{PIPELINE}.clock_denials"),
    ],
)
def test_a_limit_that_is_not_configured_is_not_tried(
    configured: dict[str, Any], function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(function, refuses_nothing)

    assert tried(replace(EVERYTHING, **configured)) == ()


@pytest.mark.parametrize("limit", LimitName)
def test_an_exposure_limit_that_refuses_nothing_is_named_with_the_others(
    limit: LimitName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIMIT_CHECKS, limit, lambda _book, _change: None)
    monkeypatch.setattr(f"{RULES}.collar_denials", refuses_nothing)

    assert tried(EVERYTHING) == (limit, "PRICE_COLLAR_PERCENT")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_guard_with_a_broken_limit_is_not_armed_and_lets_exits_out(
    function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    none = (lambda *_: None) if function.endswith("gate_denial") else refuses_nothing
    with monkeypatch.context() as broken:
        broken.setattr(function, none)
        guard = Guard(policy=replace(EVERYTHING, exposure_limits=None)).start()
    guard.position_row(1)

    assert guard.alerts() == ["LIMIT_BROKEN"]
    assert guard.book.broken_limits == FUNCTIONS[function]
    assert Condition.LIMIT_BROKEN in guard.book.state_reasons(guard.now_ns)
    assert guard.book.trading_state(guard.now_ns) is TradingState.REDUCING
    assert DenialCode.STATE_REDUCING in [it.code for it in guard.submit().denials]
    assert guard.submit(client_order_id="out", side=Side.SELL, quantity=1).denials == ()

    guard.feed(a_guard_start(utc_us=guard.utc_us))
    assert guard.book.broken_limits == ()


def test_a_limit_that_was_changed_while_it_ran_is_tried_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guard = Guard(policy=a_policy()).start()
    change(guard, max_position_tenths=5)
    monkeypatch.setattr(f"{ACCOUNT}._position", refuses_nothing)

    assert broken_limits(guard.book) == ("MAX_POSITION",)


def test_sound_limits_are_tried_once_by_a_process_and_again_when_they_are_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So that a record of many starts is read quickly; each process tries them by itself."""
    guard = Guard(policy=a_policy()).start()
    monkeypatch.setattr(f"{ACCOUNT}._position", refuses_nothing)
    guard.feed(a_guard_start(utc_us=guard.utc_us))
    assert guard.book.broken_limits == ()

    change(guard, max_position_tenths=5)
    guard.feed(a_guard_start(utc_us=guard.utc_us))
    assert guard.book.broken_limits == ("MAX_POSITION",)


def test_another_process_tries_all_limits_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = a_policy(account_limits=EVERYTHING.account_limits)
    guard, another = Guard(policy=policy).start(), Guard(policy=policy)
    monkeypatch.setattr(f"{ACCOUNT}._position", refuses_nothing)
    another.book = restored(captured(guard.book))

    another.feed(a_guard_start(utc_us=guard.utc_us))

    assert another.book.broken_limits == ("MAX_POSITION",)


@pytest.mark.parametrize("profile", Profile)
@pytest.mark.parametrize("symbols", ["ES,NQ,MES,MNQ", "6E", "M2K", "XYZ", "ZB,CL"])
def test_with_any_profile_and_any_market_all_limits_work(
    profile: Profile, symbols: str, tmp_path: Path
) -> None:
    settings = Settings.hermetic(
        TOPSTEPX_API_URL="http://127.0.0.1:1",
        TOPSTEPX_USERNAME="demo",
        TOPSTEPX_ACCOUNT_ID=1,
        TOPSTEPX_API_KEY="demo-key-01234567",
        BACKSTOP_STATE_DIR=tmp_path,
        BACKSTOP_PROFILE=profile,
        BACKSTOP_INSTRUMENTS=symbols,
        MIN_R_MULTIPLE="0.0001",
        DEFAULT_STOP_TICKS=4,
        PRICE_COLLAR_PERCENT="0.0001",
        MAX_ORDER_NOTIONAL="0.01",
    )

    assert tried(policy_from_settings(settings)) == ()
