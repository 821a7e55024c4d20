"""The settings of one process: read once, checked together, typed, never changed.

Command line beats environment beats ``.env.local`` in the current folder beats the default. All
faults are reported at once. ``Settings.hermetic`` reads nothing of all that: demos and tests must
not be able to touch a real account.
"""

import os
from collections.abc import Collection, Mapping
from datetime import time
from decimal import Decimal
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from msgspec import Struct

from backstop.adapters.loopback import is_loopback_url
from backstop.config.alert_url_secrets import alert_url_secrets
from backstop.config.choices import Calendar, Profile
from backstop.config.credential_manager import CredentialManager
from backstop.config.env_file import ENV_FILE, open_to_others, read_env_file
from backstop.config.secret import Secret
from backstop.config.setting_kinds import ListenAddress
from backstop.config.settings_reader import (
    COMMAND_LINE,
    ENVIRONMENT,
    NAMES,
    give_up_unusable,
    read_settings,
    read_sources,
)
from backstop.config.settings_table import SETTINGS
from backstop.domain.external import BreachPolicy, ExternalPositionPolicy, GuardMode
from backstop.errors import SettingError, SetupError, SetupFaults

CALLS_PEOPLE = frozenset({"BACKSTOP_ALERT_URLS"})
"""Only to call people: a slip in it holds up nobody who cuts risk, and no guard that comes back."""


class Settings(Struct, frozen=True, kw_only=True):
    """Every setting as a typed value; meanings, units and reasons are in ``settings_table``.

    Durations are whole nanoseconds, risk and balances dollars. ``warnings`` are sentences for the
    person who starts the process: what was probably meant otherwise, and what protects no more.
    """

    # credentials; user_name is "" and account_id 0 only where they were not required
    user_name: str
    account_id: int
    api_key: Secret | None
    token: Secret | None
    emergency_api_key: Secret | None
    credentials: CredentialManager  # where they came from, to be asked again
    azure_key_vault_url: str | None
    azure_key_vault_secret: str | None
    aws_secret_id: str | None
    vaults: tuple[str, ...] | None
    keyring_service: str | None
    secrets_folder: Path | None
    # gates
    mode: GuardMode
    dry_run: bool
    execute: bool
    critical_system_enable: bool
    execution_verification_enable: bool
    disaster_recovery_enable: bool
    correlation_protection_enable: bool
    allow_unprotected: bool
    # gateway
    api_url: str
    user_hub_url: str
    market_hub_url: str
    symbols: tuple[str, ...]
    calendar: Calendar
    entries_until: time | None
    flat_by: time | None
    # process
    state_folder: Path
    checkpoint_mirror: Path | str | None
    kill_file: Path
    listen: ListenAddress
    gateway_listen: ListenAddress | None
    api_token: Secret | None
    tls_cert: Path | None
    tls_key: Path | None
    alert_urls: tuple[Secret, ...]
    test_data: Path
    # exposure
    profile: Profile
    risk_budget: Decimal
    max_gross_exposure: Decimal
    max_correlation_exposure: Decimal
    es_nq_max_combined_exposure: Decimal
    max_directional_share: Decimal
    exposure_breach_liquidates: bool
    correlation_update_s: float
    account_high_close: Decimal | None
    # account
    account_starting_balance: Decimal | None
    max_daily_loss: Decimal | None
    max_trailing_loss: Decimal | None
    max_position: Decimal | None
    cool_down_after_stops: int | None
    cool_down_ns: int
    fees_per_contract: Decimal
    # orders
    max_order_quantity: int
    max_order_notional: Decimal
    price_collar_percent: Decimal
    max_repeated_executions: int
    max_orders_per_second: int
    duplicate_window_ns: int
    stale_quote_ns: int | None
    clock_offset_max_ns: int
    stop_required: bool
    default_stop_ticks: int | None
    min_r_multiple: Decimal | None
    allow_flip: bool
    # verification and recovery
    execution_timeout_ns: int
    max_slippage_ticks: Decimal
    slippage_breaches_to_reduce: int
    state_persistence_interval_ns: int
    emergency_liquidation_threshold_ns: int
    external_position_policy: ExternalPositionPolicy
    breach_policy: BreachPolicy
    bot_grace_ns: int
    # what a person should hear
    warnings: tuple[str, ...] = ()

    @classmethod
    def load(
        cls,
        *,
        overrides: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        env_file: Path | None = None,
        require_credentials: bool = True,
        asks_vaults: bool | None = None,
        does_without: Collection[str] = (),
    ) -> Self:
        """Read the settings of this process.

        Args:
            overrides: names and texts from the command line.
            environment: the process's own if None.
            env_file: ``.env.local`` in the current folder if None.
            require_credentials: False for commands that log in nowhere.
            asks_vaults: look for credentials also where that may take seconds; as
                ``require_credentials`` if None.
            does_without: names of settings that hold up nothing when they are unusable: they
                count as unset, and a warning says so.

        Raises:
            SetupFaults: everything that is unusable or missing, together.
            SetupError: the file cannot be read.
        """
        file = Path(ENV_FILE) if env_file is None else env_file
        layers = _layers(overrides, environment, file)
        given_up = give_up_unusable(layers, does_without)
        members, warnings = read_settings(
            layers,
            require_credentials=require_credentials,
            asks_vaults=require_credentials if asks_vaults is None else asks_vaults,
            env_file=file,
        )
        warnings += [f"{fault} It is done without" for fault in given_up]
        if layers[ENV_FILE] and open_to_others(file):
            _refuse_open_file(file, layers[ENV_FILE], members)
            warnings.append(f"{file} can be read by others; run: chmod 600 {file}")
        return cls(**members, warnings=tuple(warnings))

    @classmethod
    def hermetic(cls, **values: object) -> Self:
        """Return settings made of ``values`` and defaults alone: no environment, no file.

        Args:
            **values: by the settings' own names, ``DRY_RUN=False``; anything whose text can be
                read as that setting, a tuple as a list with commas.

        Raises:
            SetupFaults: a value is unusable, a credential is missing, the state folder is not
                named, or a gateway is not on this machine.
        """
        texts = {name: _text(value) for name, value in values.items()}
        faults = [
            SettingError(name, "is no setting", "a name of the settings reference")
            for name in texts
            if name not in NAMES
        ]
        faults += [
            SettingError(name, "is not set", "a value of its own, so that nothing real is touched")
            for name in ("BACKSTOP_STATE_DIR", "TOPSTEPX_API_URL")
            if name not in texts
        ]
        if faults:
            raise SetupFaults(tuple(faults))
        texts.setdefault("BACKSTOP_LISTEN", "127.0.0.1:0")
        members, warnings = read_settings({"the program": texts}, require_credentials=True)
        settings = cls(**members, warnings=tuple(warnings))
        far = tuple(
            SettingError(name, "is not on this machine", "a loopback address")
            for name, url in settings.gateway_urls.items()
            if not is_loopback_url(url)
        )
        if far:
            raise SetupFaults(far)
        return settings

    @property
    def gateway_urls(self) -> dict[str, str]:
        """Every address of the gateway, by the setting that names it."""
        return {
            "TOPSTEPX_API_URL": self.api_url,
            "TOPSTEPX_USER_HUB_URL": self.user_hub_url,
            "TOPSTEPX_MARKET_HUB_URL": self.market_hub_url,
        }

    @property
    def gateway_host(self) -> str:
        """The host, and the port where one is given, that orders go to."""
        return urlsplit(self.api_url).netloc

    @property
    def unprotected(self) -> tuple[str, ...]:
        """The components that are switched off, by the setting that does it."""
        switches = {
            "EXECUTION_VERIFICATION_ENABLE": self.execution_verification_enable,
            "DISASTER_RECOVERY_ENABLE": self.disaster_recovery_enable,
            "CORRELATION_PROTECTION_ENABLE": self.correlation_protection_enable,
        }
        return tuple(name for name, on in switches.items() if not on)

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Every secret among the settings, for the log to strike out."""
        single = (self.api_key, self.token, self.emergency_api_key, self.api_token)
        inside = (part for url in self.alert_urls for part in alert_url_secrets(url))
        return (*(secret for secret in single if secret is not None), *self.alert_urls, *inside)


def configured_sources() -> CredentialManager:
    """Return the manager of this process's sources; asks none of them.

    Raises:
        SetupFaults: the settings of a vault are unusable.
        SetupError: ``.env.local`` cannot be read.
    """
    file = Path(ENV_FILE)
    return read_sources(_layers(None, None, file), file)


def _layers(
    overrides: Mapping[str, str] | None, environment: Mapping[str, str] | None, file: Path
) -> dict[str, dict[str, str]]:
    return {
        COMMAND_LINE: dict(overrides or {}),
        ENVIRONMENT: dict(os.environ if environment is None else environment),
        ENV_FILE: read_env_file(file),
    }


def refuse_split_gateway(settings: Settings) -> None:
    """Refuse to send where part of the gateway is this machine and part is not; raises SetupError.

    Orders would go to one market and what becomes of them would be read from another.
    """
    if settings.dry_run or not settings.execute:
        return
    here = {name: url for name, url in settings.gateway_urls.items() if is_loopback_url(url)}
    if not here or len(here) == len(settings.gateway_urls):
        return
    addresses = ", ".join(
        f"{name} is {urlsplit(url).hostname}" for name, url in settings.gateway_urls.items()
    )
    raise SetupError(
        f"DRY_RUN=0 and EXECUTE=1 send orders, and {addresses}: part of that is this machine and "
        "part is not. Nothing was sent. Set all of them to one gateway (the hubs follow "
        "TOPSTEPX_API_URL where they are not set)."
    )


def _refuse_open_file(file: Path, texts: Mapping[str, str], members: Mapping[str, object]) -> None:
    """Refuse to send orders with a secret that everybody on the machine can read."""
    secret = [it.name for it in SETTINGS if it.kind.secret and texts.get(it.name, "").strip()]
    if secret and members["execute"] and not members["dry_run"]:
        raise SetupError(
            f"{file} can be read by others and holds {', '.join(secret)}. Orders are not sent with "
            f"secrets that others may have read; run: chmod 600 {file}"
        )


def _text(value: object) -> str:
    match value:
        case bool():
            return "1" if value else "0"
        case tuple() | list():
            return ",".join(_text(part) for part in value)
        case Secret():
            return value.reveal()
        case _:
            return str(value)
