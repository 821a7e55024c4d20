"""What a fault rule may say: when it strikes (``on``, ``nth``, …) and what it does (``act``).

Rules come from a script, from a seed or live over the control port; a typo is refused with the
name of the field and what is allowed there.
"""

import json
from collections.abc import Sequence
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import Struct

from backstop.adapters.projectx.wire import UNREADABLE
from backstop.errors import SettingError

RULES_MAX = 200  # a script longer than this is a program; each call looks at every rule
DELAY_MS_MAX = 600_000  # ten minutes: longer than any client waits
COPIES_MAX = 100
NOW: Final = "now"
ANY_CALL: Final = "any_call"
ANY_EVENT: Final = "any_event"

CALLS: Final = (
    "Auth/loginKey", "Auth/loginApp", "Auth/validate", "Auth/logout", "Status/ping",
    "Account/search", "Contract/search", "Contract/searchById", "Contract/available",
    "History/retrieveBars", "Order/place", "Order/modify", "Order/cancel", "Order/search",
    "Order/searchOpen", "Order/searchById", "Order/v2/query", "Position/searchOpen",
    "Position/closeContract", "Position/partialCloseContract", "Trade/search",
    "hubs/user/negotiate", "hubs/market/negotiate", "hubs/user", "hubs/market",
)  # fmt: skip
EVENTS: Final = (
    "GatewayUserAccount", "GatewayUserOrder", "GatewayUserPosition", "GatewayUserTrade",
    "GatewayQuote", "GatewayTrade", "GatewayDepth",
)  # fmt: skip


class FaultKind(StrEnum):
    """Everything that can go wrong on purpose."""

    # Calls.
    DELAY_REQUEST = "delay_request"
    """The venue sees the call `delay_ms` late."""
    DELAY_RESPONSE = "delay_response"
    """The venue acts at once, the answer is `delay_ms` late."""
    LOSE_RESPONSE = "lose_response"
    """The venue acts, then the connection is reset."""
    RESET_BEFORE = "reset_before"
    """The connection is reset before the venue sees the call."""
    RESET_MID_BODY = "reset_mid_body"
    """The venue acts, the connection ends inside the body."""
    HTTP_ERROR = "http_error"
    """`http_status` with an empty body; `accepted` says if the venue acts."""
    HTML_BODY = "html_body"
    """`http_status` with a web page; `accepted` says if the venue acts."""
    CUT_JSON = "cut_json"
    """The venue acts, the answer is half a JSON text."""
    MISSING_ORDER_ID = "missing_order_id"
    """Success without `orderId`."""
    PENDING = "pending"
    """Answers "still being processed"; the venue acts `delay_ms` later."""
    ERROR_CODE = "error_code"
    """`code` and `message` with success false; `accepted` says if the venue acts."""
    EMPTY_LIST = "empty_list"
    """Success with no rows, whatever there is: a lagging read, or a page that got lost."""
    # Events.
    DROP_EVENT = "drop_event"
    """The event never comes."""
    DELAY_EVENT = "delay_event"
    """The event comes `delay_ms` late."""
    DUPLICATE_EVENT = "duplicate_event"
    """`copies` more of it, `delay_ms` apart."""
    REORDER_EVENT = "reorder_event"
    """Lets the next event pass first, waits at most `delay_ms`."""
    CONTRADICT_EVENT = "contradict_event"
    """Afterwards an older status of the same order."""
    # Connections, tokens, feeds and clocks.
    HUB_RESET = "hub_reset"
    """The connection is reset."""
    HUB_END = "hub_end"
    """End of file without a word."""
    HUB_CLOSE = "hub_close"
    """A Close record with `allow_reconnect`."""
    HUB_MUTE = "hub_mute"
    """Pings and answers go on, events do not."""
    HUB_FREEZE = "hub_freeze"
    """Half-dead: open, nothing read, nothing written."""
    HUB_GARBAGE = "hub_garbage"
    """A record that is no JSON."""
    HUB_UNKNOWN_TYPE = "hub_unknown_type"
    """A record of a type nobody knows."""
    LOGOUT = "logout"
    """`GatewayLogout`, then silence."""
    KILL_TOKENS = "kill_tokens"
    """Every token so far is 401; `drop` ends hub connections too."""
    FREEZE_QUOTES = "freeze_quotes"
    """No market events of matching contracts."""
    SKEW_CLOCK = "skew_clock"
    """The `Date` header is `skew_s` ahead."""
    HIDE_CLOCK = "hide_clock"
    """No answer has a `Date` header."""


CALL_KINDS: Final = frozenset(list(FaultKind)[:12])
EVENT_KINDS: Final = frozenset(list(FaultKind)[12:17])
WORLD_KINDS: Final = frozenset(list(FaultKind)[17:])


class HubName(StrEnum):
    """Which hub a connection fault is for."""

    USER = "user"
    MARKET = "market"
    BOTH = "both"


class FaultRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fault: the call or event it waits for, and what it does then.

    Attributes:
        on: an endpoint (``Order/place``), an event (``GatewayUserTrade``), ``any_call``,
            ``any_event``, or ``now`` for faults of connections, tokens, feeds and clocks.
        act: what happens.
        name: shown in the log; free text.
        nth: the first matching occasion that may be hit, from 1.
        count: how many are hit; null for all of them.
        probability: of a hit, for each occasion that may be hit.
        account_id: only this account.
        contract: only contract ids that contain this.
        tag: only custom tags that contain this.
        status: only order events with this status.
        user: only this user (calls and hub connections).
        delay_ms: see the acts.
        for_ms: how long a mute, freeze, frozen feed or wrong clock lasts; null: until healed.
        copies: how many more times a duplicated event comes.
        http_status: of ``http_error`` (default 503) and ``html_body`` (default 200).
        accepted: whether the venue acts before the wrong answer.
        retry_after_s: the ``Retry-After`` of an ``http_error``; null: no such header.
        code: errorCode of ``error_code`` and ``pending``.
        message: errorMessage of ``error_code``.
        hub: which hub a connection fault is for.
        allow_reconnect: in the Close record.
        drop: whether killed tokens end their open hub connections.
        skew_s: seconds that the ``Date`` header is ahead; negative for behind.
    """

    on: str
    act: FaultKind
    name: str = ""
    nth: int = 1
    count: int | None = 1
    probability: float = 1.0
    account_id: int | None = None
    contract: str | None = None
    tag: str | None = None
    status: int | None = None
    user: str | None = None
    delay_ms: int = 0
    for_ms: int | None = None
    copies: int = 1
    http_status: int | None = None
    accepted: bool = False
    retry_after_s: int | None = None
    code: int | None = None
    message: str | None = None
    hub: HubName = HubName.BOTH
    allow_reconnect: bool = True
    drop: bool = False
    skew_s: float = 0.0


RANGES: Final[dict[str, tuple[float, float]]] = {
    "nth": (1, 1_000_000_000),
    "count": (1, 1_000_000_000),
    "probability": (0, 1),
    "delay_ms": (0, DELAY_MS_MAX),
    "for_ms": (1, DELAY_MS_MAX),
    "copies": (1, COPIES_MAX),
    "http_status": (200, 599),
    "retry_after_s": (0, 3600),
    "code": (0, 1000),
    "skew_s": (-86_400, 86_400),
}


def parse_script(text: str | bytes) -> list[FaultRule]:
    """Return the rules of a script: a JSON list of rules, or one rule.

    Raises:
        SettingError: names the field (with the rule's place in the list) and what is allowed.
    """
    try:
        given = json.loads(text)
    except UNREADABLE as error:
        raise SettingError("faults", f"not JSON: {error}", "a JSON list of rules") from None
    return parse_rules(given if isinstance(given, list) else [given])


def parse_rules(given: Sequence[Any]) -> list[FaultRule]:
    """Return JSON values as rules; raises SettingError."""
    if len(given) > RULES_MAX:
        raise SettingError("faults", f"{len(given)} rules", f"at most {RULES_MAX}")
    where = (f"[{place}]." if len(given) > 1 else "" for place in range(len(given)))
    return [parse_rule(value, where=prefix) for value, prefix in zip(given, where, strict=True)]


def parse_rule(value: Any, *, where: str = "") -> FaultRule:
    """Return one JSON value as a rule.

    Raises:
        SettingError: names the field and what is allowed.
    """
    if not isinstance(value, dict):
        raise SettingError(f"{where}rule", f"{value!r} is no rule", "a JSON object")
    for field in value:
        _one_of(f"{where}{field}", field, FaultRule.__struct_fields__, what="field")
    for field in ("on", "act"):
        if field not in value:
            raise SettingError(f"{where}{field}", "is missing", _listed(_choices(field)))
        what = "call or event" if field == "on" else "fault"
        _one_of(f"{where}{field}", value[field], _choices(field), what=what)
    if "hub" in value:
        _one_of(f"{where}hub", value["hub"], tuple(HubName), what="hub")
    for field, (low, high) in RANGES.items():
        _in_range(f"{where}{field}", value.get(field), low, high)
    try:
        rule = msgspec.convert(value, FaultRule)
    except msgspec.ValidationError as error:
        fault, _, path = str(error).partition(" - at `$.")
        field = path.rstrip("`")
        kind = next(f.type for f in msgspec.structs.fields(FaultRule) if f.name == field)
        raise SettingError(f"{where}{field}", fault, str(getattr(kind, "__name__", kind))) from None
    _check_occasion(rule, where)
    return rule


def seeded_rules(intensity: float) -> list[FaultRule]:
    """Return rules that hit at random everywhere; ``intensity`` is the chance of each kind.

    The seed is the plan's; the same seed and the same occasions give the same faults.
    """
    calls = ("Order/place", "Order/cancel", "Order/modify", "Position/closeContract", ANY_CALL)
    hard = [
        FaultRule(on=on, act=act, count=None, probability=intensity, accepted=accepted)
        for on in calls
        for act, accepted in (
            (FaultKind.LOSE_RESPONSE, True),
            (FaultKind.RESET_BEFORE, False),
            (FaultKind.HTTP_ERROR, True),
            (FaultKind.HTTP_ERROR, False),
            (FaultKind.HTML_BODY, True),
            (FaultKind.CUT_JSON, True),
        )
    ]
    soft = [
        FaultRule(on=ANY_CALL, act=FaultKind.DELAY_RESPONSE, delay_ms=300, count=None,
                  probability=intensity),
        FaultRule(on="Order/place", act=FaultKind.PENDING, delay_ms=200, count=None,
                  probability=intensity),
        FaultRule(on="Order/place", act=FaultKind.MISSING_ORDER_ID, count=None,
                  probability=intensity),
        *(FaultRule(on=f"GatewayUser{noun}", act=act, delay_ms=50, count=None,
                    probability=intensity)
          for noun in ("Order", "Trade", "Position")
          for act in (FaultKind.DROP_EVENT, FaultKind.DELAY_EVENT, FaultKind.DUPLICATE_EVENT,
                      FaultKind.REORDER_EVENT)),
        FaultRule(on="GatewayUserOrder", act=FaultKind.CONTRADICT_EVENT, count=None,
                  probability=intensity),
        *(FaultRule(on="GatewayUserTrade", act=act, hub=hub, count=None,
                    probability=intensity / 4)
          for act in (FaultKind.HUB_RESET, FaultKind.HUB_CLOSE, FaultKind.HUB_MUTE)
          for hub in (HubName.USER, HubName.MARKET)),
    ]  # fmt: skip
    return hard + soft


def _choices(field: str) -> tuple[str, ...]:
    if field == "act":
        return tuple(FaultKind)
    return (*CALLS, *EVENTS, ANY_CALL, ANY_EVENT, NOW)


def _check_occasion(rule: FaultRule, where: str) -> None:
    """Refuse a rule that can never strike."""
    is_call = rule.on in CALLS or rule.on == ANY_CALL
    is_event = rule.on in EVENTS or rule.on == ANY_EVENT
    if rule.act in CALL_KINDS and not is_call:
        allowed: tuple[str, ...] = (*CALLS, ANY_CALL)
    elif rule.act in EVENT_KINDS and not is_event:
        allowed = (*EVENTS, ANY_EVENT)
    elif rule.act is FaultKind.CONTRADICT_EVENT and rule.on not in {"GatewayUserOrder", ANY_EVENT}:
        allowed = ("GatewayUserOrder", ANY_EVENT)
    else:
        return
    raise SettingError(f"{where}on", f"{rule.on} has no {rule.act}", _listed(allowed))


def _one_of(name: str, value: object, choices: Sequence[str], *, what: str) -> None:
    if value in choices:
        return
    near = get_close_matches(str(value), choices, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise SettingError(name, f"{value!r} is no {what}{hint}", _listed(choices))


def _in_range(name: str, value: object, low: float, high: float) -> None:
    if isinstance(value, int | float) and not isinstance(value, bool) and not low <= value <= high:
        raise SettingError(name, f"{value} is out of range", f"{low:.10g} to {high:.10g}")


def _listed(choices: Sequence[str]) -> str:
    return ", ".join(choices)
