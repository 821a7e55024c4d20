"""`backstop simulate`: a ProjectX gateway on this machine, until Ctrl-C.

It takes its settings from the command line alone: no environment, no `.env.local`, so nothing of a
real account can leak into it.
"""

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from backstop.errors import SettingError, SetupError
from backstop.simulator.exchange_config import BracketMode
from backstop.simulator.fault_rules import FaultRule, parse_script
from backstop.simulator.faults import FaultApplied
from backstop.simulator.process import Simulator, SimulatorConfig
from backstop.simulator.sources import HISTORY_SESSIONS, Calendar
from backstop.simulator.switches import switch_list, switched

EXIT_GOOD = 0
EXIT_UNUSABLE = 2

SPEED_MAX = 10_000.0
"""Faster than any machine plays a market; use 0 for as fast as possible."""

HISTORY_SESSIONS_MAX = 250
"""A year of sessions: more than one answer of the gateway holds."""

_NumberT = TypeVar("_NumberT", int, float)
_BRACKETS = {"auto-oco": BracketMode.AUTO_OCO, "position": BracketMode.POSITION}
_LIST = "list"
_EXAMPLE_FAULT = '{"on": "Order/place", "act": "lose_response"}'
_SHOWN = ("MES", "MNQ", "ES", "NQ")


def simulate(  # noqa: PLR0917 - options of the command line, given by name
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes a free one.")] = 0,
    user: Annotated[str, typer.Option(help="The user that may log in.")] = "demo",
    api_key: Annotated[str, typer.Option(help="The API key of that user.")] = "demo",
    seed: Annotated[int, typer.Option(help="Equal seeds make equal markets.")] = 1,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="CSV file or folder of bars or ticks to replay; may be repeated."),
    ] = None,
    day: Annotated[
        str | None,
        typer.Option("--date", help="Trade date of the data to begin with, YYYY-MM-DD."),
    ] = None,
    speed: Annotated[
        float, typer.Option(help="Simulated seconds in a real one; 0 is as fast as possible.")
    ] = 1.0,
    calendar: Annotated[
        str, typer.Option(help="always-open, or cme for the hours of the exchange.")
    ] = Calendar.ALWAYS_OPEN.value,
    history: Annotated[
        int,
        typer.Option(
            metavar="SESSIONS",
            help="Sessions of prices before the start; few are made and read in no time.",
        ),
    ] = HISTORY_SESSIONS,
    brackets: Annotated[
        str, typer.Option(help="auto-oco, or position: then orders with brackets are rejected.")
    ] = "auto-oco",
    faults: Annotated[
        Path | None, typer.Option(help="JSON file of fault rules in force from the start.")
    ] = None,
    switch: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="What is unknown of the real gateway, such as partial_fill=slices; may be "
            "repeated; list shows all.",
        ),
    ] = None,
) -> None:
    """Serve a ProjectX gateway on this machine: REST and both hubs, an exchange, and faults."""
    if _LIST in (switch or ()):
        _tell(switch_list())
        raise typer.Exit(EXIT_GOOD)
    try:
        without = SimulatorConfig(user=user, api_key=api_key)
        exchange, server = switched(switch or (), without.exchange, without.server)
        config = SimulatorConfig(
            port=_within("--port", port, 0, 65_535),
            user=_named("--user", user),
            api_key=_named("--api-key", api_key),
            seed=seed,
            data=tuple(data or ()),
            day=_date(day, with_data=bool(data)),
            speed=_within("--speed", speed, 0, SPEED_MAX),
            calendar=Calendar(_one_of("--calendar", calendar, [*Calendar])),
            bracket_mode=_BRACKETS[_one_of("--brackets", brackets, list(_BRACKETS))],
            history_sessions=_within("--history", history, 1, HISTORY_SESSIONS_MAX),
            faults=_fault_rules(faults),
            exchange=exchange,
            server=server,
        )
        code = run_simulate(config)
    except SetupError as error:
        sys.stderr.write(f"backstop simulate: {error}\n")
        code = EXIT_UNUSABLE
    raise typer.Exit(code)


def run_simulate(config: SimulatorConfig) -> int:
    """Serve until SIGINT or SIGTERM and return the exit code.

    Raises:
        SetupError: the data cannot be used or the port is taken.
    """
    return asyncio.run(_serve(config))


async def _serve(config: SimulatorConfig) -> int:
    stop = asyncio.Event()
    with _stopped_by_signals(stop.set):
        simulator = Simulator(config, on_fault=_tell_fault)
        async with simulator:
            _tell(welcome(simulator))
            await simulator.serve(stop)
    _tell("The simulator has ended.")
    return EXIT_GOOD


def welcome(simulator: Simulator) -> str:
    """Return what a newcomer needs to know, as text for a terminal."""
    config, url = simulator.config, simulator.url
    active = {each.product.code: each.active.id for each in simulator.listings}
    account_rows = [
        f"{account.id}  {account.name}  balance {account.starting_balance}"
        for account in simulator.accounts
    ]
    lines = [
        f"ProjectX gateway simulator at {url} (this machine only)",
        "",
        f"  REST        {url}/api/...",
        f"  User hub    {url}/hubs/user",
        f"  Market hub  {url}/hubs/market",
        f"  Log in      POST {url}/api/Auth/loginKey as {config.user} with the API key you gave",
        f"  Accounts    {account_rows[0]}" if account_rows else "  Accounts    none",
        *(f"              {row}" for row in account_rows[1:]),
        f"  Brackets    {config.bracket_mode.name.lower().replace('_', '-')}",
        "  Contracts   " + "  ".join(f"{code} {active[code]}" for code in _SHOWN),
        f"              all {len(active)}: POST {url}/api/Contract/available",
        f"  Prices      {_origin(config)}",
        f"  Time        {_pace(config)}, calendar {config.calendar.value}",
        "",
        "  For Backstop or your own bot:",
        f"    TOPSTEPX_API_URL={url}",
        f"    TOPSTEPX_USER_HUB_URL={url}/hubs/user",
        f"    TOPSTEPX_MARKET_HUB_URL={url}/hubs/market",
        f"    TOPSTEPX_USERNAME={config.user}",
        *(f"    TOPSTEPX_ACCOUNT_ID={account.id}" for account in simulator.accounts[:1]),
        "",
        "  Make trouble, look at the truth, make up again:",
        f"    curl -X POST {url}/_simulator/faults -d '{_EXAMPLE_FAULT}'",
        f"    curl -X POST {url}/_simulator/hub/drop",
        f"    curl {url}/_simulator/truth",
        f"    curl -X DELETE {url}/_simulator/faults",
        "",
        "Ctrl-C ends it.",
    ]
    return "\n".join(lines)


def _origin(config: SimulatorConfig) -> str:
    if not config.data:
        return f"invented, seed {config.seed}"
    begin = "their first day" if config.day is None else str(config.day)
    files = ", ".join(map(str, config.data))
    return f"replayed from {files}, beginning with {begin}; all others invented, seed {config.seed}"


def _pace(config: SimulatorConfig) -> str:
    if config.speed == 0:
        return "as fast as possible"
    return "real" if config.speed == 1 else f"{config.speed:g} times as fast as real"


@contextmanager
def _stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Let SIGINT and SIGTERM call ``stop`` on the running loop."""
    loop = asyncio.get_running_loop()

    def handle(_number: int, _frame: object) -> None:
        loop.call_soon_threadsafe(stop)

    # Not add_signal_handler: Windows does not have it.
    before = {each: signal.signal(each, handle) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _tell_fault(fault: FaultApplied) -> None:
    _tell(f"Fault {fault.number}: {fault.act.value} on {fault.on}")


def _within(name: str, number: _NumberT, low: float, high: float) -> _NumberT:
    if not low <= number <= high:
        raise SettingError(name, f"{number} is out of range", f"{low:g} to {high:g}")
    return number


def _named(name: str, text: str) -> str:
    if not text.strip():
        raise SettingError(name, "is empty", "any text")
    return text


def _one_of(name: str, text: str, allowed: list[str]) -> str:
    if text not in allowed:
        raise SettingError(name, f"{text!r} is unknown", " or ".join(allowed))
    return text


def _date(text: str | None, *, with_data: bool) -> date | None:
    if text is None:
        return None
    if not with_data:
        raise SettingError("--date", "there is no data to begin in", "a date together with --data")
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise SettingError("--date", f"{text!r} is no date", "YYYY-MM-DD") from None


def _fault_rules(path: Path | None) -> tuple[FaultRule, ...]:
    if path is None:
        return ()
    try:
        script = path.read_bytes()
    except OSError as error:
        fault = f"{path} cannot be read: {error.strerror}"
        raise SettingError("--faults", fault, "a JSON file of fault rules") from error
    try:
        return tuple(parse_script(script))
    except SettingError as error:
        raise SettingError(f"{path}, {error.name}", error.fault, error.allowed) from None
