"""Settings: typed, from the right place, all faults at once, and never live by accident."""

import os
import re
from datetime import time
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backstop.app.policy import policy_from_settings
from backstop.config.choices import Calendar, Profile
from backstop.config.secret import Secret, stars
from backstop.config.setting_kinds import ListenAddress
from backstop.config.settings import CALLS_PEOPLE, Settings, refuse_split_gateway
from backstop.config.settings_table import CREDENTIALS, PLAIN_SETTINGS, SETTINGS, Setting
from backstop.domain.external import BreachPolicy, ExternalPositionPolicy, GuardMode
from backstop.errors import CredentialError, SettingError, SetupError, SetupFaults

LOGIN = {
    "TOPSTEPX_USERNAME": "trader77",
    "TOPSTEPX_ACCOUNT_ID": "42",
    "TOPSTEPX_API_KEY": "hunter2hunter2",
}
SECOND_NS = 1_000_000_000


def load(
    environment: dict[str, str] | None = None,
    *,
    file: Path | None = None,
    overrides: dict[str, str] | None = None,
    login: bool = True,
) -> Settings:
    return Settings.load(
        overrides=overrides,
        environment=(LOGIN if login else {}) | (environment or {}),
        env_file=Path("/nonexistent/.env.local") if file is None else file,
    )


def faults(environment: dict[str, str], *, login: bool = True) -> dict[str, SetupError]:
    with pytest.raises(SetupFaults) as refused:
        load(environment, login=login)
    return {
        fault.name: fault
        for fault in refused.value.faults
        if isinstance(fault, SettingError | CredentialError)
    }


def test_the_defaults_are_the_pinned_ones(tmp_path: Path) -> None:
    settings = load({"BACKSTOP_STATE_DIR": str(tmp_path)})

    assert msgspec.structs.asdict(settings) == {
        "user_name": "trader77",
        "account_id": 42,
        "api_key": Secret("hunter2hunter2"),
        "token": None,
        "emergency_api_key": None,
        "mode": GuardMode.GATEKEEPER,
        "dry_run": True,
        "execute": False,
        "critical_system_enable": True,
        "execution_verification_enable": True,
        "disaster_recovery_enable": True,
        "correlation_protection_enable": True,
        "allow_unprotected": False,
        "api_url": "https://api.topstepx.com",
        "user_hub_url": "https://rtc.topstepx.com/hubs/user",
        "market_hub_url": "https://rtc.topstepx.com/hubs/market",
        "symbols": ("ES", "NQ", "MES", "MNQ"),
        "calendar": Calendar.CME,
        "entries_until": None,
        "flat_by": None,
        "state_folder": tmp_path,
        "checkpoint_mirror": None,
        "kill_file": tmp_path / "KILL",
        "listen": ListenAddress(host="127.0.0.1", port=8720),
        "gateway_listen": None,
        "api_token": None,
        "tls_cert": None,
        "tls_key": None,
        "alert_urls": (),
        "test_data": Path("../shared/data").absolute(),
        "profile": Profile.NONE,
        "risk_budget": Decimal(10_000),
        "max_gross_exposure": Decimal(20_000),
        "max_correlation_exposure": Decimal("0.7"),
        "es_nq_max_combined_exposure": Decimal(5_000),
        "max_directional_share": Decimal("0.5"),
        "exposure_breach_liquidates": False,
        "correlation_update_s": 300.0,
        "account_high_close": None,
        "account_starting_balance": None,
        "max_daily_loss": None,
        "max_trailing_loss": None,
        "max_position": None,
        "cool_down_after_stops": None,
        "cool_down_ns": 1_800 * SECOND_NS,
        "fees_per_contract": Decimal("3.50"),
        "max_order_quantity": 50,
        "max_order_notional": Decimal(30_000_000),
        "price_collar_percent": Decimal(5),
        "max_repeated_executions": 60,
        "max_orders_per_second": 10,
        "duplicate_window_ns": SECOND_NS,
        "stale_quote_ns": None,
        "clock_offset_max_ns": 5 * SECOND_NS,
        "stop_required": True,
        "default_stop_ticks": None,
        "min_r_multiple": None,
        "allow_flip": False,
        "execution_timeout_ns": 10 * SECOND_NS,
        "max_slippage_ticks": Decimal(2),
        "slippage_breaches_to_reduce": 3,
        "state_persistence_interval_ns": SECOND_NS // 10,
        "emergency_liquidation_threshold_ns": 60 * SECOND_NS,
        "external_position_policy": ExternalPositionPolicy.PROTECT,
        "breach_policy": BreachPolicy.CANCEL,
        "bot_grace_ns": SECOND_NS,
        "warnings": (),
        "azure_key_vault_url": None,
        "azure_key_vault_secret": None,
        "aws_secret_id": None,
        "vaults": None,
        "keyring_service": None,
        "secrets_folder": None,
        "credentials": settings.credentials,
    }


def test_the_command_line_beats_the_environment_beats_the_file(tmp_path: Path) -> None:
    file = tmp_path / ".env.local"
    file.write_text("MAX_ORDER_QUANTITY=1\nMAX_SLIPPAGE_TICKS=1\nRISK_BUDGET=1\n")
    file.chmod(0o600)

    settings = load(
        {"MAX_ORDER_QUANTITY": "2", "MAX_SLIPPAGE_TICKS": "2.5"},
        file=file,
        overrides={"MAX_ORDER_QUANTITY": "3"},
    )

    assert settings.max_order_quantity == 3
    assert settings.max_slippage_ticks == Decimal("2.5")
    assert settings.risk_budget == 1
    assert settings.warnings == ()


def test_credentials_may_stand_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / ".env.local"
    file.write_text("".join(f"{name}='{value}'\n" for name, value in LOGIN.items()))
    file.chmod(0o644)

    settings = load(file=file, login=False)

    assert settings.api_key == Secret("hunter2hunter2")
    assert settings.warnings == (f"{file} can be read by others; run: chmod 600 {file}",)


def test_the_file_is_the_one_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env.local").write_text("MAX_ORDER_QUANTITY=7\n")
    monkeypatch.chdir(tmp_path)

    assert Settings.load(environment=LOGIN).max_order_quantity == 7


def test_the_environment_of_the_process_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in (LOGIN | {"MAX_ORDER_QUANTITY": "8"}).items():
        monkeypatch.setenv(name, value)

    assert Settings.load().max_order_quantity == 8


@pytest.mark.parametrize(
    ("name", "text", "member", "value"),
    [
        ("DRY_RUN", "0", "dry_run", False),
        ("DRY_RUN", "False", "dry_run", False),
        ("EXECUTE", "YES", "execute", True),
        ("EXECUTION_TIMEOUT_SECONDS", "2.5", "execution_timeout_ns", 2_500_000_000),
        (
            "EMERGENCY_LIQUIDATION_THRESHOLD_MINUTES",
            "0.1",
            "emergency_liquidation_threshold_ns",
            6 * SECOND_NS,
        ),
        ("CLOCK_OFFSET_MAX_SECONDS", "0.5", "clock_offset_max_ns", SECOND_NS // 2),
        ("STALE_QUOTE_MS", "1500", "stale_quote_ns", 1_500_000_000),
        ("DUPLICATE_WINDOW_MS", "0", "duplicate_window_ns", 0),
        ("BACKSTOP_INSTRUMENTS", " es, mcl ", "symbols", ("ES", "MCL")),
        ("BACKSTOP_CALENDAR", "always-open", "calendar", Calendar.ALWAYS_OPEN),
        ("FLAT_BY", "15:05", "flat_by", time(15, 5)),
        ("FLAT_BY", "15:05", "entries_until", time(15, 5)),
        ("ENTRIES_UNTIL", "09:30", "entries_until", time(9, 30)),
        ("EXTERNAL_POSITION_POLICY", "flatten", "external_position_policy", "flatten"),
        ("BACKSTOP_MODE", "drop-copy", "mode", "drop-copy"),
        ("DROP_COPY_BREACH_POLICY", "flatten", "breach_policy", "flatten"),
        ("DROP_COPY_GRACE_MS", "2500", "bot_grace_ns", 2_500_000_000),
        ("BACKSTOP_LISTEN", "[::1]:0", "listen", ListenAddress(host="::1", port=0)),
        ("MIN_R_MULTIPLE", "1.5", "min_r_multiple", Decimal("1.5")),
        ("DEFAULT_STOP_TICKS", "20", "default_stop_ticks", 20),
        ("KILL_FILE", "/tmp/stop", "kill_file", Path("/tmp/stop")),  # noqa: S108 - only a name
        ("CORRELATION_UPDATE_SECONDS", "30", "correlation_update_s", 30.0),
        ("RISK_BUDGET", "12500.50", "risk_budget", Decimal("12500.50")),
        ("TOPSTEPX_JWT", "a.b.c", "token", Secret("a.b.c")),
    ],
)
def test_a_text_becomes_a_typed_value(name: str, text: str, member: str, value: object) -> None:
    found = getattr(load({name: text}), member)

    assert found == value
    assert type(found) is type(value) or isinstance(found, str)


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("DRY_RUN", "maybe", "'maybe' is neither on nor off"),
        ("DRY_RUN", "", "the value is blank"),
        ("EXECUTE", "2", "'2' is neither on nor off"),
        ("MAX_ORDER_QUANTITY", "0", "0 is outside what is allowed"),
        ("MAX_ORDER_QUANTITY", "-5", "-5 is outside"),
        ("MAX_ORDER_QUANTITY", "1.5", "'1.5' is not a whole number"),
        ("MAX_ORDER_QUANTITY", "58000000", "58000000 is outside"),
        ("MAX_ORDER_QUANTITY", "1_000", "'1_000' is not a whole number"),
        ("MAX_CORRELATION_EXPOSURE", "NaN", "'NaN' is not a number"),
        ("MAX_CORRELATION_EXPOSURE", "Infinity", "is not a number"),
        ("MAX_CORRELATION_EXPOSURE", "1e3", "is not a number"),
        ("MAX_CORRELATION_EXPOSURE", "0", "0 is outside"),
        ("MAX_CORRELATION_EXPOSURE", "1.01", "1.01 is outside"),
        ("MAX_CORRELATION_EXPOSURE", "0,7", "'0,7' is not a number"),
        ("MAX_SLIPPAGE_TICKS", "-1", "-1 is outside"),
        ("RISK_BUDGET", "$10000", "is not a number"),
        ("EXECUTION_TIMEOUT_SECONDS", "0", "0 is outside"),
        ("EMERGENCY_LIQUIDATION_THRESHOLD_MINUTES", "0", "0 is outside"),
        ("STATE_PERSISTENCE_INTERVAL_MS", "1", "1 is outside"),
        ("BACKSTOP_INSTRUMENTS", "ES,,NQ", "'' is not an exchange root"),
        ("BACKSTOP_INSTRUMENTS", "ES,es", "a root stands there twice"),
        ("BACKSTOP_INSTRUMENTS", "CON.F.US.EP.Z25", "is not an exchange root"),
        ("BACKSTOP_CALENDAR", "nyse", "'nyse' is none of them"),
        ("FLAT_BY", "3 pm", "'3 pm' is not a time of the form HH:MM"),
        ("FLAT_BY", "24:00", "is not a time"),
        ("FLAT_BY", "16:00", "16:00 is outside what is allowed"),
        ("BACKSTOP_PROFILE", "topstep", "'topstep' is none of them"),
        ("BACKSTOP_LISTEN", "8720", "'8720' is not of the form host:port"),
        ("BACKSTOP_LISTEN", "::1:8720", "is not of the form host:port"),
        ("BACKSTOP_LISTEN", "localhost:99999", "99999 is not a port"),
        ("BACKSTOP_TLS_CERT", "/nonexistent", "/nonexistent is not a file"),
        ("BACKSTOP_TLS_CERT", "x" * 5000, "cannot be looked at"),
        ("BACKSTOP_STATE_DIR", "~nobody-of-this-name/state", "the home folder of nobody here"),
        ("TOPSTEPX_API_URL", "api.topstepx.com", "it has no scheme"),
        ("TOPSTEPX_API_URL", "ftp://api.topstepx.com", "its scheme is 'ftp'"),
        ("TOPSTEPX_API_URL", "https://", "it has no usable host"),
        ("TOPSTEPX_API_URL", "https://u:hunter2@h", "it has a user or a password"),
        ("TOPSTEPX_API_URL", "https://h/?k=hunter2", "it has a query"),
        ("TOPSTEPX_API_URL", "https://[::1", "it is not a URL"),
        ("TOPSTEPX_API_URL", "https://h:99999", "it is not a URL"),
        ("TOPSTEPX_USER_HUB_URL", "wss://rtc.topstepx.com/hubs/user", "its scheme is 'wss'"),
        ("TOPSTEPX_ACCOUNT_ID", "hunter2", "the value is not an account's number"),
        ("TOPSTEPX_ACCOUNT_ID", "0", "the value is not an account's number"),
        ("TOPSTEPX_ACCOUNT_ID", "+31004502", "the value is not an account's number"),
        ("BACKSTOP_API_TOKEN", "'hunter2'", "the value has quotation marks"),
        ("BACKSTOP_ALERT_URLS", "hunter2", "address 1 of 1 has no scheme such as discord://"),
        (
            "BACKSTOP_ALERT_URLS",
            "json://h/p, discrod://hunter2/x",
            "address 2 of 2 has the scheme discrod://, which no service goes by (discord:// ",
        ),
    ],
)
def test_an_unusable_value_is_refused_with_name_fault_and_range(
    name: str, text: str, fault: str
) -> None:
    found = faults({name: text})

    assert list(found) == [name]
    error = found[name]
    assert isinstance(error, SettingError)
    assert fault in error.fault
    assert error.allowed
    assert re.match(rf"{name}: .*\. Allowed: .*\.$", str(error))
    assert "hunter2" not in str(error)


def test_a_credential_that_is_missing_is_named() -> None:
    found = faults({}, login=False)

    assert list(found) == ["TOPSTEPX_USERNAME", "TOPSTEPX_ACCOUNT_ID", "TOPSTEPX_API_KEY"]
    assert "environment: not set; .env.local: not set" in str(found["TOPSTEPX_API_KEY"])


def test_all_faults_are_told_together() -> None:
    found = faults(
        {"DRY_RUN": "maybe", "RISK_BUDGET": "-1", "TOPSTEPX_ACCOUNT_ID": "x"}, login=False
    )

    assert set(found) == {
        "DRY_RUN",
        "RISK_BUDGET",
        "TOPSTEPX_ACCOUNT_ID",
        "TOPSTEPX_USERNAME",
        "TOPSTEPX_API_KEY",
    }


def test_a_fault_says_where_the_value_came_from(tmp_path: Path) -> None:
    file = tmp_path / ".env.local"
    file.write_text("DRY_RUN=maybe\n")

    with pytest.raises(SetupFaults, match=r"\(from \.env\.local\)"):
        load(file=file)


def test_commands_that_log_in_nowhere_need_no_credentials() -> None:
    settings = Settings.load(
        environment={}, env_file=Path("/nonexistent"), require_credentials=False
    )

    assert (settings.user_name, settings.account_id, settings.api_key) == ("", 0, None)


def test_both_halves_of_tls_belong_together(tmp_path: Path) -> None:
    pem = tmp_path / "cert.pem"
    pem.touch()

    assert "BACKSTOP_TLS_CERT" in faults({"BACKSTOP_TLS_CERT": str(pem)})
    assert "BACKSTOP_TLS_CERT" in faults({"BACKSTOP_TLS_KEY": str(pem)})
    both = load({"BACKSTOP_TLS_CERT": str(pem), "BACKSTOP_TLS_KEY": str(pem)})
    assert both.tls_cert == both.tls_key == pem


def test_a_misspelt_name_of_ours_is_pointed_out() -> None:
    settings = load({"BACKSTOP_STATEDIR": "x", "UNRELATED": "y", "EXECUTION_TIMEOUT": "1"})

    (warning,) = settings.warnings
    assert warning.startswith("BACKSTOP_STATEDIR in the environment is no setting and was ignored")
    assert warning.endswith("; was BACKSTOP_STATE_DIR meant?")


def test_a_name_that_the_client_reads_is_no_misspelt_one() -> None:
    assert load({"BACKSTOP_URL": "http://127.0.0.1:8720"}).warnings == ()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("TOPSTEPX_APIKEY", "TOPSTEPX_API_KEY"),
        ("topstepx_api_key", "TOPSTEPX_API_KEY"),
        ("BACKSTOP_INSTRUMENT", "BACKSTOP_INSTRUMENTS"),
    ],
)
def test_a_misspelt_name_in_the_environment_is_pointed_out(name: str, meant: str) -> None:
    (warning,) = load({name: "hunter2"}).warnings

    assert warning.startswith(f"{name} in the environment is no setting and was ignored")
    assert warning.endswith(f"; was {meant} meant?")
    assert "hunter2" not in warning


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("DRYRUN", "DRY_RUN"),
        ("dry_run", "DRY_RUN"),
        ("EXECTUE", "EXECUTE"),
        ("MAX_SLIPAGE_TICKS", "MAX_SLIPPAGE_TICKS"),
        ("EXECUTION_TIMEOUT", "EXECUTION_TIMEOUT_SECONDS"),
        ("TOPSTEPX_ACCOUNT", "TOPSTEPX_ACCOUNT_ID"),
    ],
)
def test_a_misspelt_name_in_the_file_is_pointed_out(tmp_path: Path, name: str, meant: str) -> None:
    """Who writes DRYRUN=0 believes that it holds."""
    file = tmp_path / ".env.local"
    file.write_text(f"{name}=0\nMY_BOT_COLOUR=blue\nPYTHONPATH=src\n")
    file.chmod(0o600)

    (warning,) = load(file=file).warnings

    assert warning == f"{name} in .env.local is no setting and was ignored; was {meant} meant?"


def test_a_name_of_ours_that_is_near_nothing_is_pointed_out_too(tmp_path: Path) -> None:
    file = tmp_path / ".env.local"
    file.write_text("BACKSTOP_XYZZY=1\n")
    file.chmod(0o600)

    assert load(file=file).warnings == (
        "BACKSTOP_XYZZY in .env.local is no setting and was ignored",
    )


@pytest.mark.parametrize(
    ("profile", "budget", "combined"),
    [
        ("none", 10_000, 5_000),
        ("topstep-50k", 10_000, 5_000),
        ("topstep-100k", 20_000, 10_000),
        ("topstep-150k", 30_000, 15_000),
    ],
)
def test_a_profile_sets_the_defaults_of_the_limits(
    profile: str, budget: int, combined: int
) -> None:
    settings = load({"BACKSTOP_PROFILE": profile})

    assert settings.risk_budget == budget
    assert settings.max_gross_exposure == 2 * budget
    assert settings.es_nq_max_combined_exposure == combined
    assert load({"BACKSTOP_PROFILE": profile, "RISK_BUDGET": "77"}).risk_budget == 77


@pytest.mark.parametrize(
    ("profile", "starting", "daily", "trailing", "position"),
    [
        ("topstep-50k", 50_000, 1_000, 2_000, 5),
        ("topstep-100k", 100_000, 2_000, 3_000, 10),
        ("topstep-150k", 150_000, 3_000, 4_500, 15),
        ("none", None, None, None, None),
    ],
)
def test_a_profile_knows_the_rules_of_its_account(
    profile: str, starting: int, daily: int, trailing: int, position: int
) -> None:
    settings = load({"BACKSTOP_PROFILE": profile})

    assert settings.account_starting_balance == starting
    assert settings.max_daily_loss == daily
    assert settings.max_trailing_loss == trailing
    assert settings.max_position == position


@pytest.mark.parametrize(
    "name", ["MAX_DAILY_LOSS", "MAX_TRAILING_LOSS", "MAX_POSITION", "ACCOUNT_HIGH_CLOSE"]
)
@pytest.mark.parametrize("value", ["0", "-5", "NaN", "Infinity", "1e3", "99999999999"])
def test_a_limit_of_the_account_that_is_none_is_refused(name: str, value: str) -> None:
    fault = str(faults({name: value})[name])

    assert value in fault
    assert "at most" in fault or "to 100000" in fault


def test_a_trailing_loss_needs_the_balance_that_it_counts_from() -> None:
    with pytest.raises(SetupFaults, match="ACCOUNT_STARTING_BALANCE: is not set"):
        load({"MAX_TRAILING_LOSS": "2000"})


@pytest.mark.parametrize("profile", [it for it in Profile if it is not Profile.NONE])
def test_a_topstep_profile_is_flat_before_the_firm_closes_what_is_open(profile: Profile) -> None:
    settings = load({"BACKSTOP_PROFILE": profile})

    assert (settings.entries_until, settings.flat_by) == (time(15), time(15, 5))
    earlier = load({"BACKSTOP_PROFILE": profile, "FLAT_BY": "12:00"})
    assert (earlier.entries_until, earlier.flat_by) == (time(12), time(12))


def test_entries_after_positions_are_closed_are_a_mistake() -> None:
    with pytest.raises(SetupFaults, match="15:06 is later than FLAT_BY, which is 15:05"):
        load({"ENTRIES_UNTIL": "15:06", "FLAT_BY": "15:05"})


@pytest.mark.parametrize(
    ("url", "root", "user_hub"),
    [
        ("https://api.topstepx.com/", "https://api.topstepx.com", "https://rtc.topstepx.com"),
        ("https://api.topstepx.com/api", "https://api.topstepx.com", "https://rtc.topstepx.com"),
        ("https://api.topstepx.com/api/", "https://api.topstepx.com", "https://rtc.topstepx.com"),
        (
            "https://api.e8.projectx.com",
            "https://api.e8.projectx.com",
            "https://rtc.e8.projectx.com",
        ),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("http://localhost:5000/api", "http://localhost:5000", "http://localhost:5000"),
        ("http://[::1]:5000/", "http://[::1]:5000", "http://[::1]:5000"),
        ("https://simulator:5000", "https://simulator:5000", "https://simulator:5000"),
    ],
)
def test_the_hubs_follow_from_the_gateway(url: str, root: str, user_hub: str) -> None:
    settings = load({"TOPSTEPX_API_URL": url})

    assert settings.api_url == root
    assert settings.user_hub_url == user_hub + "/hubs/user"
    assert settings.market_hub_url == user_hub + "/hubs/market"


def test_a_hub_that_is_named_is_kept() -> None:
    settings = load({"TOPSTEPX_USER_HUB_URL": "http://127.0.0.1:9/hubs/user/"})

    assert settings.user_hub_url == "http://127.0.0.1:9/hubs/user"
    assert settings.market_hub_url == "https://rtc.topstepx.com/hubs/market"


def test_a_token_that_would_travel_readable_is_pointed_out() -> None:
    (warning,) = load({"BACKSTOP_LISTEN": "0.0.0.0:8720"}).warnings

    assert "the token travels readable" in warning


@pytest.mark.parametrize("name", ["TOPSTEPX_API_URL", "TOPSTEPX_USER_HUB_URL"])
@pytest.mark.parametrize(
    "url",
    [
        "http://api.topstepx.com",
        "http://192.168.1.5:5000",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "http://2130706433",
        "http://0.0.0.0:5000",
    ],
)
def test_credentials_are_not_sent_readable_to_another_machine(name: str, url: str) -> None:
    """The client would refuse it later; here it costs nothing."""
    with pytest.raises(SetupFaults) as refused:
        load({name: url})

    (fault,) = refused.value.faults
    assert isinstance(fault, SettingError)
    assert fault.name == name
    assert "would travel readable" in fault.fault
    assert "https:// and a host" in fault.allowed


def test_settings_show_no_secret() -> None:
    settings = load({"BACKSTOP_ALERT_URLS": "discord://hunter2/hunter2"})

    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(msgspec.structs.asdict(settings))
    assert b"hunter2" not in msgspec.json.encode(settings, enc_hook=_json_form)
    assert {secret.reveal() for secret in settings.secrets} == {
        "hunter2hunter2",
        "discord://hunter2/hunter2",
    }


def _json_form(value: object) -> str:
    return str(value) if isinstance(value, Path) else stars(value)


NUMBERS = [it for it in SETTINGS if it.kind.is_number]


@pytest.mark.parametrize("setting", NUMBERS, ids=lambda it: it.name)
@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "NaN",
        "nan",
        "Infinity",
        "-inf",
        "-1",
        "1e3",
        "1,5",
        "1_000",
        "10 USD",
        "5%",
        "0x10",
        "٣",
        "1" + "0" * 17,
        "9" * 400,
        "0.0000000000001",
        "ten",
        "None",
    ],
)
def test_what_is_no_number_of_a_setting_is_refused_with_name_value_and_range(
    setting: Setting, text: str
) -> None:
    with pytest.raises(SetupFaults) as refused:
        load({setting.name: text, **PROFILED})

    (fault,) = refused.value.faults
    assert isinstance(fault, SettingError)
    assert fault.name == setting.name
    assert text.strip() in fault.fault or "blank" in fault.fault
    assert setting.kind.allowed in fault.allowed


PROFILED = {"BACKSTOP_PROFILE": "topstep-50k"}


@pytest.mark.parametrize(
    "setting", [it for it in NUMBERS if "0, or" not in it.kind.allowed], ids=lambda it: it.name
)
def test_a_limit_of_zero_is_no_limit(setting: Setting) -> None:
    if setting.kind.allowed.startswith("0 to"):
        load({setting.name: "0"})
        return
    with pytest.raises(SetupFaults, match=f"{setting.name}: 0 is outside what is allowed"):
        load({setting.name: "0"})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("MAX_POSITION", "1.57"),
        ("MAX_POSITION", "0.05"),
        ("MAX_DAILY_LOSS", "1000.005"),
        ("MAX_TRAILING_LOSS", "0.001"),
        ("MAX_ORDER_NOTIONAL", "0.001"),
        ("RISK_BUDGET", "0.001"),
        ("FEES_PER_CONTRACT", "0.0000001"),
        ("PRICE_COLLAR_PERCENT", "0.00001"),
        ("MAX_ORDER_QUANTITY", "1.5"),
        ("MAX_ORDERS_PER_SECOND", "0.5"),
        ("COOL_DOWN_AFTER_STOPS", "2.0"),
        ("DEFAULT_STOP_TICKS", "3"),
        ("DUPLICATE_WINDOW_MS", "0.5"),
        ("CLOCK_OFFSET_MAX_SECONDS", "0.0001"),
    ],
)
def test_what_would_be_cut_to_something_else_is_refused(name: str, text: str) -> None:
    with pytest.raises(SetupFaults, match=rf"{name}: '?{re.escape(text)}'? is "):
        load({name: text, "ACCOUNT_STARTING_BALANCE": "50000"})


@pytest.mark.parametrize("setting", NUMBERS, ids=lambda it: it.name)
def test_the_bounds_of_a_number_are_usable(setting: Setting) -> None:
    """What the documentation allows is what the policy can be made of."""
    words = setting.kind.allowed.removeprefix("0, or ").partition(", in steps")[0]
    least, _, most = words.removeprefix("above ").replace(", at most ", " to ").partition(" to ")
    least = "0.01" if words.startswith("above") else least
    others = {"ACCOUNT_STARTING_BALANCE": "1000000000"}
    if setting.name == "ACCOUNT_HIGH_CLOSE":
        others, least = {"ACCOUNT_STARTING_BALANCE": "0.01"}, "0.01"
    for text in (least, most):
        policy_from_settings(load({**others, setting.name: text}))


@pytest.mark.parametrize(
    ("settings", "name", "allowed"),
    [
        ({"MAX_TRAILING_LOSS": "50000.01"}, "MAX_TRAILING_LOSS", "which is 50000"),
        ({"MAX_DAILY_LOSS": "60000"}, "MAX_DAILY_LOSS", "which is 50000"),
        ({"ACCOUNT_HIGH_CLOSE": "5210"}, "ACCOUNT_HIGH_CLOSE", "which is 50000, or more"),
    ],
)
def test_amounts_that_contradict_the_beginning_of_the_account_are_refused(
    settings: dict[str, str], name: str, allowed: str
) -> None:
    with pytest.raises(SetupFaults) as refused:
        load({**PROFILED, **settings})

    (fault,) = refused.value.faults
    assert isinstance(fault, SettingError)
    assert fault.name == name
    assert allowed in fault.allowed


def test_components_that_are_off_are_named() -> None:
    assert load().unprotected == ()
    assert load({"DISASTER_RECOVERY_ENABLE": "0"}).unprotected == ("DISASTER_RECOVERY_ENABLE",)


# -- never live by accident ------------------------------------------------------------------------


REAL = "https://api.topstepx.com"
OPEN = {"DRY_RUN": "0", "EXECUTE": "1"}


def test_both_keys_open_the_way_to_a_real_gateway() -> None:
    settings = load({**OPEN, "TOPSTEPX_API_URL": REAL})
    refuse_split_gateway(settings)

    assert settings.gateway_host == "api.topstepx.com"
    assert policy_from_settings(settings).sends


@pytest.mark.parametrize(
    "gates",
    [
        {},
        {"DRY_RUN": "0"},
        {"EXECUTE": "1"},
        {"EXECUTE": "1", "DRY_RUN": "1"},
        {"EXECUTE": "0", "DRY_RUN": "0"},
        {**OPEN, "CRITICAL_SYSTEM_ENABLE": "0"},
    ],
)
def test_with_anything_less_than_both_keys_nothing_is_sent(gates: dict[str, str]) -> None:
    assert not policy_from_settings(load({"TOPSTEPX_API_URL": REAL, **gates})).sends


@pytest.mark.parametrize(
    "far", ["TOPSTEPX_API_URL", "TOPSTEPX_USER_HUB_URL", "TOPSTEPX_MARKET_HUB_URL"]
)
def test_half_a_gateway_on_this_machine_is_sent_nothing(far: str) -> None:
    """Orders would go to one market, and what became of them would be read from another."""
    urls = {
        "TOPSTEPX_API_URL": "http://127.0.0.1:5000",
        "TOPSTEPX_USER_HUB_URL": "http://127.0.0.1:5000/hubs/user",
        "TOPSTEPX_MARKET_HUB_URL": "http://127.0.0.1:5000/hubs/market",
    }
    split = {**urls, far: "https://rtc.topstepx.com/hubs/market"}
    for closed in ({}, {"DRY_RUN": "0"}, {"EXECUTE": "1"}):
        refuse_split_gateway(load({**split, **closed}))
    refuse_split_gateway(load({**urls, **OPEN}))

    with pytest.raises(SetupError, match=rf"{far} is rtc\.topstepx\.com.*Nothing was sent"):
        refuse_split_gateway(load({**split, **OPEN}))


GUARDED = {"BACKSTOP_PROFILE": "topstep-50k", "BACKSTOP_ALERT_URLS": "json://127.0.0.1/"}
"""What a person who trades for real has set."""


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"BACKSTOP_CALENDAR": "always-open"}, "orders are sent at any hour"),
        ({"ALLOW_UNPROTECTED": "1"}, "would refuse no entry"),
        ({"STOP_REQUIRED": "0"}, "entries are sent without a stop"),
        ({"BACKSTOP_PROFILE": "none"}, "no loss stops trading"),
        ({"CLOCK_OFFSET_MAX_SECONDS": "0"}, "a wrong clock"),
        ({"BACKSTOP_ALERT_URLS": ""}, "nobody is called"),
    ],
)
def test_each_door_that_stands_open_to_a_real_account_is_named(
    settings: dict[str, str], said: str
) -> None:
    real = {**OPEN, **GUARDED, "TOPSTEPX_API_URL": REAL}

    assert load(real).warnings == ()
    (warning,) = load({**real, **settings}).warnings
    assert said in warning
    for harmless in ({"DRY_RUN": "1"}, {"TOPSTEPX_API_URL": "http://127.0.0.1:5000"}):
        assert load({**real, **settings, **harmless}).warnings == ()


@pytest.mark.parametrize(
    "name",
    [
        "EXECUTION_VERIFICATION_ENABLE",
        "DISASTER_RECOVERY_ENABLE",
        "CORRELATION_PROTECTION_ENABLE",
    ],
)
def test_a_component_that_is_off_is_named_at_any_gateway_with_what_becomes_of_entries(
    name: str,
) -> None:
    (refused,) = load({name: "0"}).warnings
    (let_through,) = load({name: "0", "ALLOW_UNPROTECTED": "1"}).warnings

    assert refused.startswith(f"{name}=0: ")
    assert refused.endswith("entries are refused")
    assert let_through.endswith("entries are let through all the same (ALLOW_UNPROTECTED=1)")


@pytest.mark.parametrize(("token", "length"), [("x", "1 character"), ("y" * 15, "15 characters")])
def test_a_token_that_can_be_guessed_is_named_without_being_shown(token: str, length: str) -> None:
    (warning,) = load({"BACKSTOP_API_TOKEN": token}).warnings

    assert warning.startswith(f"BACKSTOP_API_TOKEN has {length}, so it can be guessed")
    assert "yy" not in warning
    assert load({"BACKSTOP_API_TOKEN": "y" * 16}).warnings == ()


HERMETIC: dict[str, Any] = {
    "TOPSTEPX_API_URL": "http://127.0.0.1:5000",
    "TOPSTEPX_USERNAME": "demo",
    "TOPSTEPX_ACCOUNT_ID": 1,
    "TOPSTEPX_API_KEY": Secret("demo-key"),
}


def test_hermetic_settings_ignore_environment_and_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env.local").write_text("TOPSTEPX_API_KEY=real\nEXECUTE=1\nnot even a line\n")
    monkeypatch.chdir(tmp_path)
    for setting in SETTINGS:
        monkeypatch.setenv(setting.name, "poison")

    settings = Settings.hermetic(**HERMETIC, BACKSTOP_STATE_DIR=tmp_path, DRY_RUN=False)

    assert settings.api_key == Secret("demo-key")
    assert settings.account_id == 1
    assert settings.state_folder == tmp_path
    assert (settings.dry_run, settings.execute) == (False, False)
    assert settings.listen == ListenAddress(host="127.0.0.1", port=0)
    assert settings.user_hub_url == "http://127.0.0.1:5000/hubs/user"
    assert "poison" not in repr(settings)


def test_hermetic_settings_take_typed_values(tmp_path: Path) -> None:
    settings = Settings.hermetic(
        **HERMETIC,
        BACKSTOP_STATE_DIR=tmp_path,
        EXECUTE=True,
        BACKSTOP_INSTRUMENTS=("ES", "MES"),
        BACKSTOP_CALENDAR=Calendar.ALWAYS_OPEN,
        MAX_CORRELATION_EXPOSURE=Decimal("0.5"),
    )

    assert settings.execute
    assert settings.symbols == ("ES", "MES")
    assert settings.calendar is Calendar.ALWAYS_OPEN
    assert settings.max_correlation_exposure == Decimal("0.5")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"TOPSTEPX_API_URL": "https://api.topstepx.com"}, "TOPSTEPX_API_URL: is not on this mach"),
        ({"TOPSTEPX_USER_HUB_URL": "https://rtc.topstepx.com/x"}, "TOPSTEPX_USER_HUB_URL: is not"),
        ({"DRYRUN": "1"}, "DRYRUN: is no setting"),
        ({"DRY_RUN": "maybe"}, "DRY_RUN: 'maybe' is neither on nor off"),
        ({"TOPSTEPX_API_KEY": ""}, "TOPSTEPX_API_KEY: no source has it"),
    ],
)
def test_hermetic_settings_cannot_reach_out(
    tmp_path: Path, change: dict[str, Any], fault: str
) -> None:
    values: dict[str, Any] = HERMETIC | {"BACKSTOP_STATE_DIR": tmp_path} | change

    with pytest.raises(SetupFaults, match=fault):
        Settings.hermetic(**values)


def test_hermetic_settings_need_a_folder_and_a_gateway_of_their_own() -> None:
    with pytest.raises(SetupFaults) as refused:
        Settings.hermetic()

    assert [fault.name for fault in refused.value.faults if isinstance(fault, SettingError)] == [
        "BACKSTOP_STATE_DIR",
        "TOPSTEPX_API_URL",
    ]


# -- the table -------------------------------------------------------------------------------------

PINNED_NAMES = """
TOPSTEPX_API_KEY TOPSTEPX_USERNAME TOPSTEPX_ACCOUNT_ID TOPSTEPX_JWT CRITICAL_SYSTEM_ENABLE
EXECUTION_VERIFICATION_ENABLE DISASTER_RECOVERY_ENABLE CORRELATION_PROTECTION_ENABLE
MAX_CORRELATION_EXPOSURE ES_NQ_MAX_COMBINED_EXPOSURE EXECUTION_TIMEOUT_SECONDS MAX_SLIPPAGE_TICKS
STATE_PERSISTENCE_INTERVAL_MS EMERGENCY_LIQUIDATION_THRESHOLD_MINUTES DRY_RUN EXECUTE
TOPSTEPX_API_URL TOPSTEPX_USER_HUB_URL TOPSTEPX_MARKET_HUB_URL BACKSTOP_STATE_DIR BACKSTOP_LISTEN
BACKSTOP_GATEWAY
BACKSTOP_API_TOKEN BACKSTOP_INSTRUMENTS BACKSTOP_CALENDAR BACKSTOP_PROFILE RISK_BUDGET
ENTRIES_UNTIL FLAT_BY MAX_ORDER_NOTIONAL PRICE_COLLAR_PERCENT MAX_REPEATED_EXECUTIONS
MAX_GROSS_EXPOSURE MAX_ORDER_QUANTITY MAX_ORDERS_PER_SECOND DUPLICATE_WINDOW_MS
BACKSTOP_MODE DROP_COPY_BREACH_POLICY DROP_COPY_GRACE_MS
EXTERNAL_POSITION_POLICY KILL_FILE SLIPPAGE_BREACHES_TO_REDUCE MIN_R_MULTIPLE DEFAULT_STOP_TICKS
STOP_REQUIRED ALLOW_FLIP ALLOW_UNPROTECTED MAX_DIRECTIONAL_SHARE STALE_QUOTE_MS
EXPOSURE_BREACH_LIQUIDATES
CORRELATION_UPDATE_SECONDS ACCOUNT_HIGH_CLOSE ACCOUNT_STARTING_BALANCE MAX_DAILY_LOSS
MAX_TRAILING_LOSS MAX_POSITION COOL_DOWN_AFTER_STOPS COOL_DOWN_MINUTES FEES_PER_CONTRACT
BACKSTOP_ALERT_URLS BACKSTOP_TLS_CERT
BACKSTOP_TLS_KEY CLOCK_OFFSET_MAX_SECONDS BACKSTOP_CHECKPOINT_MIRROR
TOPSTEPX_EMERGENCY_API_KEY BACKSTOP_TEST_DATA AZURE_KEY_VAULT_URL AZURE_KEY_VAULT_SECRET
AWS_SECRET_ID BACKSTOP_VAULTS BACKSTOP_KEYRING_SERVICE BACKSTOP_SECRETS_DIR
"""


def test_the_table_has_every_setting_once() -> None:
    names = [setting.name for setting in SETTINGS]

    assert sorted(names) == sorted(PINNED_NAMES.split())
    assert len(names) == len(set(names))
    assert SETTINGS == CREDENTIALS + PLAIN_SETTINGS


def test_each_setting_says_its_reason_and_its_default() -> None:
    members = set(Settings.__struct_fields__) - {"warnings", "credentials"}

    assert {setting.member for setting in SETTINGS} == members
    for setting in SETTINGS:
        assert setting.reason.endswith(".")
        assert setting.kind.allowed
        assert (setting.default is None) is bool(setting.default_words), setting.name


@pytest.mark.parametrize(
    "setting", [s for s in PLAIN_SETTINGS if s.default is not None], ids=lambda s: s.name
)
def test_each_default_is_itself_allowed(setting: Any) -> None:
    assert setting.kind.parse(setting.default) is not None


def test_relative_paths_count_from_the_current_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/folders/someone")
    settings = load({"BACKSTOP_STATE_DIR": "state", "KILL_FILE": "~/KILL"})

    assert settings.state_folder == Path(os.getcwd()) / "state"  # noqa: PTH109 - independent of it
    assert settings.kill_file == Path("/folders/someone/KILL")


def test_what_is_done_without_counts_as_unset_and_is_told(tmp_path: Path) -> None:
    environment = {"BACKSTOP_ALERT_URLS": "discrod://hunter2/x", "BACKSTOP_LISTEN": "127.0.0.1:1"}
    load = partial(
        Settings.load,
        environment=environment,
        env_file=tmp_path / ".env.local",
        require_credentials=False,
    )

    with pytest.raises(SetupFaults, match="discrod"):
        load()
    settings = load(does_without=CALLS_PEOPLE)

    assert settings.alert_urls == ()
    (warning,) = settings.warnings
    assert warning.startswith("BACKSTOP_ALERT_URLS: address 1 of 1 has the scheme discrod://")
    assert warning.endswith("It is done without")
    assert "hunter2" not in warning


def test_only_what_is_named_is_done_without(tmp_path: Path) -> None:
    environment = {"BACKSTOP_ALERT_URLS": "hunter2", "MAX_ORDER_QUANTITY": "none"}

    with pytest.raises(SetupFaults, match="MAX_ORDER_QUANTITY") as caught:
        Settings.load(
            environment=environment,
            env_file=tmp_path / ".env.local",
            require_credentials=False,
            does_without=CALLS_PEOPLE,
        )

    assert "BACKSTOP_ALERT_URLS" not in str(caught.value)
