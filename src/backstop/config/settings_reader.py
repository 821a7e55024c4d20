"""Turns layers of texts into the members of ``Settings``, collecting everything that is wrong."""

import difflib
from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from platformdirs import user_data_dir

from backstop.config.choices import PROFILE_DEFAULTS
from backstop.config.credential_manager import CredentialManager, MappingSource, Source
from backstop.config.credential_sources import EnvFileSource, vaults
from backstop.config.env_file import ENV_FILE
from backstop.config.gateway_urls import HubPath, hub_url
from backstop.config.secret import Secret
from backstop.config.settings_contradictions import contradictions
from backstop.config.settings_doubts import doubts
from backstop.config.settings_table import CREDENTIALS, PLAIN_SETTINGS, SETTINGS, VAULTS, Setting
from backstop.errors import CredentialError, SettingError, SetupError, SetupFaults

NAMES = frozenset(setting.name for setting in SETTINGS)
"""The name of every setting."""

COMMAND_LINE = "the command line"
ENVIRONMENT = "the environment"
"""What people call the first two places of a setting; the latter is the process's variables."""

_OUR_PREFIXES = ("BACKSTOP_", "TOPSTEPX_")

_OF_OTHER_PARTS = frozenset({"BACKSTOP_URL", "BACKSTOP_CHROMIUM"})
"""Names of ours that the client and the tests of the page read, and no guard."""

_NEAR = 0.7
"""How like a setting's name another one is that probably means it (1.0: the same)."""

Layers = Mapping[str, Mapping[str, str]]
"""Names and texts, by what people call the place; the first place that has a name wins."""


def read_settings(
    layers: Layers,
    *,
    require_credentials: bool,
    asks_vaults: bool = True,
    env_file: Path | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """Return the members of ``Settings`` but its warnings, and the warnings.

    Args:
        layers: where settings stand, in the order in which they win.
        require_credentials: False where nobody logs in.
        asks_vaults: False: only sources that keep nobody waiting are asked.
        env_file: the file of the layer ``.env.local``; its credentials are read from it anew.

    Raises:
        SetupFaults: everything that is unusable or missing.
    """
    members, faults = _read_plain(PLAIN_SETTINGS, layers)
    try:
        manager = _manager(layers, members, env_file)
    except SettingError as error:
        raise SetupFaults((*faults, error)) from error
    members["credentials"] = manager
    credentials, credential_faults = _read_credentials(
        manager if asks_vaults else manager.local, required=require_credentials
    )
    members |= credentials
    faults += credential_faults
    if faults:
        raise SetupFaults(tuple(faults))
    _derive(members)
    together = contradictions(members)
    if together:
        raise SetupFaults(together)
    return members, _unknown_names(layers) + doubts(members)


def read_sources(layers: Layers, env_file: Path) -> CredentialManager:
    """Return the manager of every configured source, whatever the other settings are like.

    Raises:
        SetupFaults: the settings of a vault are unusable.
    """
    members, faults = _read_plain(VAULTS, layers)
    if faults:
        raise SetupFaults(tuple(faults))
    return _manager(layers, members, env_file)


def give_up_unusable(
    layers: dict[str, dict[str, str]], names: Collection[str]
) -> tuple[SettingError, ...]:
    """Leave those of ``names`` unset that are unusable, in ``layers``; return their faults.

    For what must not be held up by a setting that it does not need.
    """
    faults = _read_plain(tuple(it for it in PLAIN_SETTINGS if it.name in names), layers)[1]
    given_up = tuple(fault for fault in faults if isinstance(fault, SettingError))
    layers[COMMAND_LINE] = layers[COMMAND_LINE] | {fault.name: "" for fault in given_up}
    return given_up


def _read_plain(
    settings: tuple[Setting, ...], layers: Layers
) -> tuple[dict[str, Any], list[SetupError]]:
    members: dict[str, Any] = {}
    faults: list[SetupError] = []
    for setting in settings:
        try:
            members[setting.member] = _read(setting, layers)
        except SettingError as error:
            faults.append(error)
    return members, faults


def _read(setting: Setting, layers: Layers) -> object:
    """Return the value of one setting; None when it is unset and has no default."""
    place, text = "the default", setting.default
    for name, texts in layers.items():
        if setting.name in texts:
            place, text = name, texts[setting.name].strip()
            break
    if text is None or (not text and setting.may_be_blank):
        return None
    try:
        return _parsed(setting, text)
    except ValueError as error:
        unit = f", in {setting.unit}" if setting.unit else ""
        raise SettingError(
            setting.name, f"{error} (from {place})", f"{setting.kind.allowed}{unit}"
        ) from None


def _parsed(setting: Setting, text: str) -> object:
    if not text:
        # An undefined shell variable looks like this; taking the default would hide it.
        raise ValueError("the value is blank")
    return setting.kind.parse(text)


def _manager(
    layers: Layers, members: Mapping[str, Any], env_file: Path | None
) -> CredentialManager:
    """Return the manager of every source; a vault with unusable settings is left out."""
    sources: list[Source] = [
        EnvFileSource(env_file)
        if name == ENV_FILE and env_file is not None
        else MappingSource(name.removeprefix("the "), texts)
        for name, texts in layers.items()
    ]
    texts: dict[str, str] = {}
    for layer in reversed(tuple(layers.values())):
        texts |= layer
    return CredentialManager([*sources, *vaults(defaultdict(lambda: None, members), texts)])


def _read_credentials(
    manager: CredentialManager, *, required: bool
) -> tuple[dict[str, Any], tuple[SetupError, ...]]:
    faults: tuple[SetupError, ...] = ()
    if required:
        try:
            manager.validate_required_credentials()
        except SetupFaults as error:
            faults = error.faults
    reported = {fault.name for fault in faults if isinstance(fault, CredentialError)}
    members: dict[str, Any] = {}
    for setting in CREDENTIALS:
        try:
            secret = manager.try_get_credential(setting.name)
            members[setting.member] = secret and setting.kind.parse(secret.reveal())
        except CredentialError as error:
            faults += () if setting.name in reported else (error,)
        except ValueError as error:
            faults += (SettingError(setting.name, str(error), setting.kind.allowed),)
    user_name = members.get("user_name")
    members["user_name"] = user_name.reveal() if isinstance(user_name, Secret) else ""
    members["account_id"] = members.get("account_id") or 0
    return members, faults


def _derive(members: dict[str, Any]) -> None:
    """Fill in what follows from other settings where nothing was said."""
    profile = PROFILE_DEFAULTS[members["profile"]]
    api_url: str = members["api_url"]
    state_folder: Path = (
        members["state_folder"] or Path(user_data_dir("backstop", False)).absolute()
    )
    risk_budget = members["risk_budget"] or profile.risk_budget
    derived = {
        "user_hub_url": hub_url(api_url, HubPath.USER),
        "market_hub_url": hub_url(api_url, HubPath.MARKET),
        "state_folder": state_folder,
        "kill_file": state_folder / "KILL",
        "risk_budget": risk_budget,
        "max_gross_exposure": 2 * risk_budget,
        "es_nq_max_combined_exposure": profile.es_nq_max_combined_exposure,
        "account_starting_balance": profile.starting_balance,
        "max_daily_loss": profile.max_daily_loss,
        "max_trailing_loss": profile.max_trailing_loss,
        "max_position": profile.max_position,
        "alert_urls": (),
        "flat_by": profile.flat_by,
        "entries_until": members["flat_by"] or profile.entries_until,
    }
    for member, value in derived.items():
        if members[member] is None:
            members[member] = value
    members["correlation_update_s"] = float(members["correlation_update_s"])


def _unknown_names(layers: Layers) -> list[str]:
    """Name what looks like a setting of ours and is none: a typing mistake changes nothing.

    The environment is full of other programs' names: there only our prefixes count.
    """
    warnings: list[str] = []
    for place, texts in layers.items():
        for name in sorted(texts.keys() - NAMES - _OF_OTHER_PARTS):
            ours = name.upper().startswith(_OUR_PREFIXES)
            if not ours and place == ENVIRONMENT:
                continue
            meant = difflib.get_close_matches(name.upper(), sorted(NAMES), n=1, cutoff=_NEAR)
            if ours or meant:
                hint = f"; was {meant[0]} meant?" if meant else ""
                warnings.append(f"{name} in {place} is no setting and was ignored{hint}")
    return warnings
