"""The verbs that ask the running guard: ``status``, ``positions``, ``validate``."""

from fractions import Fraction
from http import HTTPStatus
from typing import Annotated, Any

import typer

from backstop.domain.numbers import fraction_text
from backstop.domain.wish_terms import QUANTITY_MAX
from backstop.entrypoints.api_client import GuardClient, GuardRefusedError
from backstop.entrypoints.place import guard_client
from backstop.entrypoints.terminal import columns, say, say_json

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, as the API gives it.")]
PriceOption = Annotated[str | None, typer.Option(help="A price in points, such as 5000.25.")]

AVERAGE_PLACES = 4
"""Decimals of an average price for people: finer than any tick."""

DENIED = 1
"""Exit code of an order that would be refused."""


def status(*, as_json: AsJson = False) -> None:
    """Show the running guard's state, gates and limits."""
    body = _read(guard_client(), "/v1/status")
    if as_json:
        say_json(body)
        return
    gates, heartbeats = body["gates"], body["heartbeats"]
    say(gates["banner"])
    for warning in gates["warnings"]:
        say(f"WARNING        {warning}")
    say(f"trading state  {body['trading_state']}")
    for reason in body["reasons"]:
        say(f"               {reason}")
    for latch in body["latches"]:
        say(f"LATCH          {_latch(latch)}")
    say(f"account        {body['account_id']}   backstop {body['version']}")
    say(f"user hub       {_up(heartbeats['user_hub_connected'])}")
    say(f"market hub     {_up(heartbeats['market_hub_connected'])}")
    say(f"account read   {ago(heartbeats['audit_age_ms'])}")
    for bot in heartbeats["bots"]:
        say(f"bot            {bot['bot_id']} {bot['state']}, heard {ago(bot['heartbeat_age_ms'])}")
    for component, fault in heartbeats["faults"].items():
        say(f"fault          {component}: {fault}")
    for name in body["protection"]["switched_off"]:
        say(f"SWITCHED OFF   {name}")
    for run in body["liquidations"]:
        say(f"liquidation    {run['id']} {run['state']}, {len(run['remaining'])} left")
    _say_positions(body["positions"])
    _say_working(body["working_orders"])
    for order in body["unknown_orders"]:
        wanted = f"{order['side']} {order['quantity']} {order['symbol']}"
        say(
            f"UNKNOWN ORDER  {order['client_order_id']} {wanted}, without a clear answer: "
            "do not send it again"
        )


def positions(*, as_json: AsJson = False) -> None:
    """Show positions with their stops and targets."""
    body = _read(guard_client(), "/v1/positions")
    if as_json:
        say_json(body)
        return
    _say_positions(body["positions"])


def validate(
    symbol: Annotated[str, typer.Argument(help="An exchange root such as ES.")],
    side: Annotated[str, typer.Argument(help="BUY or SELL, LONG or SHORT.")],
    quantity: Annotated[
        int, typer.Argument(metavar="QTY", min=1, max=QUANTITY_MAX, help="Contracts.")
    ],
    *,
    order_type: Annotated[
        str, typer.Option("--type", help="MARKET, LIMIT, STOP or TRAILING_STOP.")
    ] = "MARKET",
    limit: PriceOption = None,
    stop: PriceOption = None,
    stop_loss: PriceOption = None,
    take_profit: PriceOption = None,
    as_json: AsJson = False,
) -> None:
    """Ask the running guard whether an order would pass; sends nothing.

    Ends with 0 when it would, 1 when it would be refused.
    """
    reply = guard_client().call(
        "POST",
        "/v1/orders/validate",
        {
            "symbol": symbol.upper() if "." not in symbol else symbol,
            "side": side.upper(),
            "quantity": quantity,
            "type": order_type.upper(),
            "limit_price": limit,
            "stop_price": stop,
            "stop_loss_price": stop_loss,
            "take_profit_price": take_profit,
        },
    )
    body = checked(reply.status, reply.body)
    if as_json:
        say_json(body)
    else:
        _say_judgement(body)
    if body["decision"] != "APPROVED":
        raise typer.Exit(DENIED)


def _read(client: GuardClient, path: str) -> Any:
    reply = client.call("GET", path)
    return checked(reply.status, reply.body)


def checked(status: int, body: Any) -> Any:
    """Return the body of a good answer, or raise what the guard says is wrong."""
    if status == HTTPStatus.OK:
        return body
    message = body.get("error", {}).get("message") if isinstance(body, dict) else None
    raise GuardRefusedError(message or f"The guard answered with HTTP {status}.")


def _say_judgement(body: dict[str, Any]) -> None:
    say(body["decision"])
    for denial in body["denials"]:
        say(f"  {denial['code']}: {denial['message']}{_largest(denial)}")
    for name, price in body["rounded"].items():
        if price is not None:
            say(f"  {name} {price}")
    if body["r_multiple"] is not None:
        say(f"  reward for one unit of risk {body['r_multiple']}")
    if body["gate"] is not None:
        say(f"  not sent anyway: {body['gate']['message']}")


def _say_positions(rows: list[dict[str, Any]]) -> None:
    if not rows:
        say("no positions")
        return
    say(
        columns(
            ("SYMBOL", "QTY", "AVERAGE", "STOPS", "TARGETS", "PROTECTION", "NAKED MS", "KNOWLEDGE"),
            (
                (
                    row["symbol"],
                    f"{row['quantity']:+d}",
                    _average(row["average_price"]),
                    _levels(row["stops"]),
                    _levels(row["targets"]),
                    row["protection"],
                    row["naked_ms"],
                    row["knowledge"],
                )
                for row in rows
            ),
        )
    )


def _say_working(rows: list[dict[str, Any]]) -> None:
    if not rows:
        say("no working orders")
        return
    say(
        columns(
            ("WORKING", "OF", "SYMBOL", "SIDE", "QTY", "TYPE", "LIMIT", "STOP", "STATUS", "TAG"),
            (
                (
                    row["broker_order_id"],
                    row["client_order_id"] or row["role"],
                    row["symbol"],
                    row["side"],
                    row["quantity"],
                    row["type"],
                    row["limit_price"],
                    row["stop_price"],
                    row["status"],
                    row["tag"],
                )
                for row in rows
            ),
        )
    )


def _largest(denial: dict[str, Any]) -> str:
    """Return the largest quantity that passes, unless the sentence says it already."""
    largest = denial["max_quantity"]
    if largest is None or "largest quantity that passes" in denial["message"]:
        return ""
    if not largest:
        return " (no quantity passes)"
    return f" (largest quantity that passes: {largest})"


def _average(price: str | None) -> str | None:
    """Return an average of fills for reading; ``--json`` has all its digits."""
    return None if price is None else fraction_text(Fraction(price), places=AVERAGE_PLACES)


def _levels(protective: list[dict[str, Any]]) -> str | None:
    """Return every working level of a position: together they are its protection."""
    return ", ".join(f"{order['quantity']} @ {order['price']}" for order in protective) or None


def _latch(latch: dict[str, Any]) -> str:
    of_what = latch["symbol"] or "the account"
    since = latch["since"][:19] + "Z"
    return f"{latch['kind']} of {of_what} since {since} by {latch['operator']}: {latch['cause']}"


def _up(connected: object) -> str:
    return "connected" if connected else "NOT CONNECTED"


def ago(age_ms: int | None) -> str:
    """Return an age for people; None: it never happened."""
    return "NEVER" if age_ms is None else f"{age_ms / 1000:.1f} s ago"
