"""The pages about closed sets: settings, refusal codes, order states, faults."""

import ast
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from msgspec.structs import fields
from reference_markdown import attribute_words, code, member_words, page, sentence, table

from backstop.config import settings_table
from backstop.config.settings_table import Setting
from backstop.core.liquidation import FINISHED, LIQUIDATION_TRANSITIONS, LiquidationState
from backstop.core.trading_state import Condition, LatchKind, TradingState
from backstop.domain.denial import DenialCode
from backstop.domain.order import ORDER_TRANSITIONS, TERMINAL_STATES, OrderState
from backstop.simulator.fault_rules import (
    ANY_CALL,
    ANY_EVENT,
    CALL_KINDS,
    CALLS,
    EVENT_KINDS,
    EVENTS,
    NOW,
    RANGES,
    RULES_MAX,
    WORLD_KINDS,
    FaultKind,
    FaultRule,
    HubName,
)
from backstop.simulator.switches import OPTION, SWITCHES

_FINAL = frozenset(map(str, TERMINAL_STATES | FINISHED))
_State = TypeVar("_State", bound=StrEnum)

SOURCE = Path(__file__).parents[1] / "src" / "backstop"

SETTING_GROUPS = {
    "Credentials": "CREDENTIALS",
    "Vaults": "VAULTS",
    "Gates and switches": "_GATES",
    "Gateway": "_GATEWAY",
    "Process": "_PROCESS",
    "Exposure": "_EXPOSURE",
    "Account": "_ACCOUNT",
    "Orders": "_ORDERS",
    "Verification": "_VERIFICATION",
    "Recovery": "_RECOVERY",
}


# -- settings ------------------------------------------------------------------------------------


def settings_page() -> str:
    """Return every setting with what it allows, its default, and whether it has an effect yet."""
    groups: dict[str, tuple[Setting, ...]] = {
        title: getattr(settings_table, name) for title, name in SETTING_GROUPS.items()
    }
    grouped = [setting for group in groups.values() for setting in group]
    if {it.name for it in grouped} != {it.name for it in settings_table.SETTINGS}:
        raise ValueError("SETTING_GROUPS does not cover settings_table.SETTINGS")
    used = members_used()
    return page(
        "Settings",
        "`backstop run --set NAME=VALUE` beats the environment, the environment beats `.env.local` "
        "in the current folder, and that beats the default. All faults are reported at once, "
        "before the gateway is contacted, with exit code 2. A blank value counts as unset where "
        "there is no default and no number is wanted; elsewhere it is refused.",
        *([NOT_YET] if any(it.member not in used for it in grouped) else []),
        *(
            f"## {title}\n\n{table(_SETTING_HEADS, (_setting_row(it, used) for it in group))}"
            for title, group in groups.items()
        ),
    )


NOT_YET = "A setting marked **not yet** is read and checked, and changes nothing in this version."
_SETTING_HEADS = ("name", "what for", "default", "allowed")


def _setting_row(setting: Setting, used: frozenset[str]) -> tuple[str, ...]:
    default = code(setting.default) if setting.default is not None else setting.default_words
    kind = setting.kind
    allowed = (
        kind.allowed if kind.type_name in kind.allowed else f"{kind.type_name}: {kind.allowed}"
    )
    if setting.unit:
        allowed += f" ({setting.unit})"
    mark = "" if setting.member in used else " **Not yet.**"
    return (code(setting.name), setting.reason + mark, default, allowed)


def members_used() -> frozenset[str]:
    """Return the members of ``Settings`` that something outside the configuration reads."""
    members = {setting.member for setting in settings_table.SETTINGS}
    config = SOURCE / "config"
    outside = [path for path in SOURCE.rglob("*.py") if config not in path.parents]
    read = {name for path in outside for name in _settings_members(_tree(path))}
    inside = [node for path in config.glob("*.py") for node in ast.walk(_tree(path))]
    for node in inside:
        if not isinstance(node, ast.FunctionDef):
            continue
        # A derived property that is read outside counts for the members it is made of; but to
        # strike a secret out of the log is no use of it.
        if node.name in read - {"secrets"}:
            read |= {it.attr for it in ast.walk(node) if isinstance(it, ast.Attribute)}
        # So does a check that others call, and what defaults of others follow from or vaults are
        # made of.
        if any(it.arg == "settings" for it in node.args.args):
            read |= _settings_members(node)
        if node.name in {"_derive", "vaults"}:
            read |= {
                it.slice.value
                for it in ast.walk(node)
                if isinstance(it, ast.Subscript)
                and isinstance(it.ctx, ast.Load)
                and isinstance(it.slice, ast.Constant)
            }
    return frozenset(members & read) | READ_BY_TESTS


def _settings_members(tree: ast.AST) -> set[str]:
    """Return ``x`` of every ``settings.x`` and ``self.settings.x``."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and (
            (isinstance(node.value, ast.Name) and node.value.id == "settings")
            or (isinstance(node.value, ast.Attribute) and node.value.attr in _SETTINGS_NAMES)
        )
    }


_SETTINGS_NAMES = {"settings", "_settings"}

READ_BY_TESTS = frozenset({"test_data"})
"""What no part of the program needs, but the tests do."""


def _tree(path: Path) -> ast.AST:
    return ast.parse(path.read_text(encoding="utf-8"))


# -- refusal codes -------------------------------------------------------------------------------


def denial_codes_page() -> str:
    """Return every code with the rule behind it."""
    words = member_words(DenialCode)
    return page(
        "Refusal codes",
        "Backstop refuses an order with one or more of these codes. Each comes with a sentence, "
        "and where there are numbers, with the limit and the value.",
        "`max_quantity` is the largest quantity of the same order (its side, type and prices) that "
        "would pass that rule, exactly; the smallest of all of them is what may be asked for now. "
        "It is 0 where no quantity would pass: a halt, a closed session, a price too far from the "
        "market. What only closes contracts passes, so an order that would turn a position over "
        "hears how many it may close. It is null for `DUPLICATE_ORDER` (an order of another size "
        "is not equal) and `PROTECTION_REQUIRED` (nothing is ordered).",
        "What reduces a position passes all of them but the checks of numbers and the gate. The "
        "venue's own refusals have no code here: they are the order state `REJECTED` with the "
        "venue's words.",
        table(("code", "why"), ((code(it.value), words[it.name]) for it in DenialCode)),
    )


# -- order states --------------------------------------------------------------------------------


def order_states_page() -> str:
    """Return the states of an order, their diagram and the table of what may follow what."""
    words = member_words(OrderState)
    return page(
        "Order states",
        "The state of an order of ours follows from evidence: what the venue answered, pushed or "
        "showed when it was read. Evidence may come in any order and more than once. A transition "
        "that is not in the table is refused and recorded.",
        table(("state", "meaning"), ((code(it), words[it.name]) for it in OrderState)),
        "## Transitions",
        f"```mermaid\n{_state_diagram(ORDER_TRANSITIONS)}\n```",
        "Bold states are final unless stronger evidence arrives: a trade that raced a cancel "
        "counts, a voided trade is taken back, and a tag that is seen later reopens an order.",
        table(
            ("from", "to"),
            (
                (
                    f"**{code(state)}**" if state in TERMINAL_STATES else code(state),
                    ", ".join(code(it) for it in OrderState if it in ORDER_TRANSITIONS[state]),
                )
                for state in OrderState
            ),
        ),
    )


def trading_states_page() -> str:
    """Return what the guard lets through, and everything that refuses entries."""
    states, conditions = member_words(TradingState), member_words(Condition)
    latches = member_words(LatchKind)
    return page(
        "Trading states",
        "What `backstop status` and `GET /v1/status` show as the trading state follows from what "
        "is true: the gravest reason wins. Exits, protective stops and liquidation go on in every "
        "one of them. The lines under the state are the reasons.",
        table(("state", "meaning"), ((code(it), states[it.name]) for it in TradingState)),
        "## Conditions",
        "They refuse entries and lift by themselves; nobody has to do anything but mend what is "
        "broken.",
        table(("condition", "what it is, and how long"),
              ((code(it), conditions[it.name]) for it in Condition)),
        "## Latches",
        "They hold until a person resumes with a name and a reason, also across restarts. "
        "[What each wants before](../howto/halt-and-resume.md#what-puts-a-latch-on).",
        table(
            ("latch", "what happened", "resting entries"),
            (
                (code(it), latches[it.name], "are cancelled" if it.halts else "stay")
                for it in LatchKind
            ),
        ),
    )  # fmt: skip


def liquidation_states_page() -> str:
    """Return the states of a liquidation and their diagram."""
    words = member_words(LiquidationState)
    return page(
        "Liquidation states",
        "A liquidation takes the account, or one contract, flat. It is a state machine over the "
        "record: a new process goes on where the old one stopped, after it has read what is true. "
        "It latches first and so refuses entries; it cancels entries, closes each position with "
        "the venue's close call, leaves each stop where it is until its position is proven "
        "closed, cancels every order that can still fill, and reads until nothing is left twice "
        "in a row. A close of a position goes the same way without the latch and leaves the "
        "orders of others alone.",
        table(("state", "meaning"), ((code(it), words[it.name]) for it in LiquidationState)),
        "## Transitions",
        f"```mermaid\n{_state_diagram(LIQUIDATION_TRANSITIONS)}\n```",
        "A close of a position begins in `CLOSING`.",
    )


def _state_diagram(transitions: Mapping[_State, frozenset[_State]]) -> str:
    """Return the diagram of ``transitions``, whose first state is where everything begins."""
    states = list(type(next(iter(transitions))))
    lines = ["stateDiagram-v2", f"    [*] --> {states[0]}"]
    lines += [
        f"    {state} --> {following}"
        for state in states
        for following in states
        if following in transitions[state]
    ]
    lines += [f"    {state} --> [*]" for state in states if state in _FINAL]
    return "\n".join(lines)


# -- faults --------------------------------------------------------------------------------------


def faults_page() -> str:
    """Return what a fault rule of the simulator may say."""
    words = member_words(FaultKind)
    kinds = {
        "Calls": CALL_KINDS,
        "Events": EVENT_KINDS,
        "Connections, tokens, feeds and clocks": WORLD_KINDS,
    }
    return page(
        "Faults of the simulator",
        "A rule is a JSON object: `on` says what it waits for, `act` what it does then. Rules come "
        "from the file of `backstop simulate --faults`, or over the "
        "[control port](simulator.md#control-port) while the simulator runs. At most "
        f"{RULES_MAX} rules are in force. A member that is not listed here, or a value that is "
        "not allowed, is refused by name.",
        "## What a rule waits for",
        f"- `{NOW}`: at once; for connections, tokens, feeds and clocks.\n"
        f"- `{ANY_CALL}`, or one call: {', '.join(code(it) for it in CALLS)}.\n"
        f"- `{ANY_EVENT}`, or one event: {', '.join(code(it) for it in EVENTS)}.",
        "## What it does",
        *(
            f"### {title}\n\n"
            + table(("act", "what happens"), ((code(it), words[it.name]) for it in FaultKind
                                             if it in held))
            for title, held in kinds.items()
        ),
        "## Members of a rule",
        table(("member", "meaning", "default", "allowed"), _rule_rows()),
    )  # fmt: skip


def _rule_rows() -> list[tuple[str, ...]]:
    meanings = attribute_words(FaultRule)
    rows = []
    for field in fields(FaultRule):
        default = "required" if field.required else code(_json_word(field.default))
        rows.append(
            (code(field.name), sentence(meanings[field.name]), default, _allowed(field.name))
        )
    return rows


def _allowed(name: str) -> str:
    if name in RANGES:
        low, high = RANGES[name]
        return f"{low} to {high}"
    return ", ".join(code(it) for it in HubName) if name == "hub" else ""


def _json_word(value: object) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


# -- switches of the simulator -------------------------------------------------------------------


def switches_page() -> str:
    """Return what `backstop simulate --switch` can set."""
    return page(
        "Switches of the simulator",
        "What is not publicly known of the real gateway, or what a venue may do and seldom does, "
        f"is a switch: `backstop simulate {OPTION} partial_fill=slices {OPTION} retry_after=on`. "
        "Dashes and underscores mean the same. Names that end in `_us` are microseconds, in `_s` "
        "seconds, in `_ticks` ticks; of two numbers one in between is drawn for each use. An "
        "unknown name or a value that is not allowed is refused with exit code 2. "
        f"`backstop simulate {OPTION} list` shows this list.",
        table(
            ("name", "meaning", "default", "allowed"),
            ((code(it.name), it.meaning, code(it.default), it.allowed) for it in SWITCHES.values()),
        ),
    )
