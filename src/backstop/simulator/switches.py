"""The simulator's switches as texts ``NAME=VALUE``, read by the fields of the two configurations.

A switch is a field of ``ExchangeConfig``, ``ServerConfig`` or ``HubTimings`` that a text can say;
a new field there is a new switch.
"""

import inspect
import math
import re
from collections.abc import Callable, Iterable
from enum import Enum
from types import NoneType
from typing import Final, get_args

from msgspec import Struct, structs

from backstop.adapters.projectx_server.config import HubTimings, ServerConfig
from backstop.adapters.projectx_server.rate_limit import RateLimit
from backstop.errors import SettingError
from backstop.simulator.exchange_config import ExchangeConfig, LatencyRange

OPTION: Final = "--switch"

NOT_SWITCHES: Final = frozenset({
    *("seed", "accounts", "contracts", "start_us", "market_open", "users"),  # other options
    "logins",  # of a guard in front of the gateway; here the one user has them
    *("first_order_id", "first_trade_id", "first_position_id"),  # no client may depend on them
    *("apps", "signing_key"),  # secrets do not belong on a command line
    "timings",  # its own fields are switches
})  # fmt: skip
"""Fields that the process sets by itself."""

NUMBER_MAX = 1_000_000_000
"""Of whole numbers: a quarter of an hour in microseconds, 31 years in seconds."""

SECONDS_MIN, SECONDS_MAX = 0.01, 86_400.0
"""Of the hub's times: less would keep the process busy with pings alone; a day is for ever."""

_NEVER_ZERO = frozenset({"fill_slices", "token_life_s", "max_orders_per_account"})
_BOOLS = {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}
_NONE = "none"
_WHOLE = re.compile(r"[0-9]{1,10}", re.ASCII)
_ATTRIBUTE = re.compile(r"^    (\w+): (.+(?:\n {8}.+)*)", re.MULTILINE)

Read = Callable[[str], object]
"""Makes a field's value of a text; raises ValueError for a text that is none."""


class Switch(Struct, frozen=True, kw_only=True):
    """One field that can be set by text.

    Attributes:
        name: of the field.
        owner: the configuration that has the field.
        default: its value, as text.
        allowed: what its text may be, in words.
        meaning: what the configuration's docstring says of it.
        read: makes its value of a text.
    """

    name: str
    owner: type[Struct]
    default: str
    allowed: str
    meaning: str
    read: Read


def switched(
    texts: Iterable[str], exchange: ExchangeConfig, server: ServerConfig
) -> tuple[ExchangeConfig, ServerConfig]:
    """Return the two configurations with every switch of ``texts`` set.

    Args:
        texts: each ``NAME=VALUE``; dashes in names and values stand for underscores.
        exchange: how the exchange behaves without them.
        server: how the surface behaves without them.

    Raises:
        SettingError: a text is no switch, its value is not allowed, or a name comes twice.
    """
    values: dict[type[Struct], dict[str, object]] = {
        ExchangeConfig: {},
        ServerConfig: {},
        HubTimings: {},
    }
    for text in texts:
        switch, value = _parsed(text)
        owned = values[switch.owner]
        if switch.name in owned:
            raise SettingError(f"{OPTION} {switch.name}", "is given twice", "each name once")
        owned[switch.name] = value
    timings = structs.replace(server.timings, **values[HubTimings])
    return (
        structs.replace(exchange, **values[ExchangeConfig]),
        structs.replace(server, timings=timings, **values[ServerConfig]),
    )


def switch_list() -> str:
    """Return every switch with its default, what is allowed and what it means, for a terminal."""
    return "\n".join(
        f"{switch.name}={switch.default}\n    {switch.meaning}\n    Allowed: {switch.allowed}."
        for switch in SWITCHES.values()
    )


def _parsed(text: str) -> tuple[Switch, object]:
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals:
        raise SettingError(OPTION, f"{text!r} has no value", "NAME=VALUE, or list")
    switch = SWITCHES.get(name.replace("-", "_"))
    if switch is None:
        raise SettingError(OPTION, f"{name!r} is unknown", ", ".join(SWITCHES))
    try:
        return switch, switch.read(value.lower())
    except (ValueError, KeyError):
        fault = f"{value!r} cannot be used"
        raise SettingError(f"{OPTION} {switch.name}", fault, switch.allowed) from None


# -- from types to readers -----------------------------------------------------------------------


def _switches(owner: type[Struct]) -> Iterable[Switch]:
    meanings = dict(_ATTRIBUTE.findall(inspect.cleandoc(owner.__doc__ or "")))
    for field in structs.fields(owner):
        if field.name in NOT_SWITCHES:
            continue
        allowed, read = _reader(field.type, least=1 if field.name in _NEVER_ZERO else 0)
        yield Switch(
            name=field.name,
            owner=owner,
            default=_shown(field.default),
            allowed=allowed,
            meaning=" ".join(meanings.get(field.name, "").replace("``", "").split()),
            read=read,
        )


def _reader(kind: object, *, least: int) -> tuple[str, Read]:
    """Return what a field of type ``kind`` allows, and its reader.

    Raises:
        TypeError: no text can say such a value; the field belongs into NOT_SWITCHES.
    """
    if kind == LatencyRange:
        return f"two whole numbers from 0 to {NUMBER_MAX}, smaller first, such as 5-9", _range
    if NoneType in get_args(kind):
        (inner,) = (each for each in get_args(kind) if each is not NoneType)
        allowed, read = _reader(inner, least=least)
        return f"{allowed}, or {_NONE}", lambda text: None if text == _NONE else read(text)
    if kind is bool:
        return "on or off", _BOOLS.__getitem__
    if kind is int:
        return f"a whole number from {least} to {NUMBER_MAX}", lambda text: _whole(text, least)
    if kind is float:
        return f"seconds from {SECONDS_MIN:g} to {SECONDS_MAX:g}", _seconds
    if kind is RateLimit:
        return "CALLS/SECONDS, such as 200/60", _limit
    if isinstance(kind, type) and issubclass(kind, Enum):
        members = {_shown(member): member for member in kind}
        return " or ".join(members), lambda text: members[text.replace("_", "-")]
    raise TypeError(f"no text can say a value of {kind}")


def _whole(text: str, least: int) -> int:
    # Not int alone, which takes signs, underscores and digits of every script.
    if not _WHOLE.fullmatch(text) or not least <= int(text) <= NUMBER_MAX:
        raise ValueError(text)
    return int(text)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not math.isfinite(seconds) or not SECONDS_MIN <= seconds <= SECONDS_MAX:
        raise ValueError(text)
    return seconds


def _range(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    ends = _whole(low, 0), _whole(high, 0)
    if ends[0] > ends[1]:
        raise ValueError(text)
    return ends


def _limit(text: str) -> RateLimit:
    calls, _, window_s = text.partition("/")
    return RateLimit(calls=_whole(calls, 1), window_s=_whole(window_s, 1))


def _shown(value: object) -> str:
    """Return a value as its reader takes it."""
    match value:
        case None:
            return _NONE
        case bool():
            return "on" if value else "off"
        case Enum():
            return value.name.lower().replace("_", "-")
        case (low, high):
            return f"{low}-{high}"
        case RateLimit():
            return f"{value.calls}/{value.window_s}"
        case float():
            return f"{value:g}"
        case _:
            return str(value)


SWITCHES: Final[dict[str, Switch]] = {
    switch.name: switch
    for owner in (ExchangeConfig, ServerConfig, HubTimings)
    for switch in _switches(owner)
}
"""By name, in the order of the fields."""
