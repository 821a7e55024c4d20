"""The verbs on the record: reading it here, checking it and handing it on in ``audit_check``."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from backstop.adapters.sqlite.evidence_copy import readable
from backstop.adapters.sqlite.schema import open_for_reading
from backstop.adapters.state_layout import AUDIT_DATABASE
from backstop.entrypoints.audit_check import export, prove, rotate, verify
from backstop.entrypoints.place import state_folder
from backstop.entrypoints.terminal import columns, say, say_json
from backstop.errors import SetupError

ORDERS_SHOWN = 50
ORDERS_SHOWN_MAX = 100_000

NAME_WIDTH = 14
"""Of the longest column name."""

audit = typer.Typer(
    help="Read, check and hand on the audit record of the state folder.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_ORDER_COLUMNS = (
    "OrderId, ClientOrderId, SubmittedTime, Symbol, Side, Quantity, "
    "CAST(Price AS TEXT) AS Price, Status, ExecutionProof"
)
_FILL_COLUMNS = (
    "FillId, OrderId, FillTime, CAST(FillPrice AS TEXT) AS FillPrice, FillQuantity, "
    "CAST(Commission AS TEXT) AS Commission, Voided"
)


@audit.command()
def orders(
    *,
    limit: Annotated[
        int, typer.Option(min=1, max=ORDERS_SHOWN_MAX, help="Orders to show.")
    ] = ORDERS_SHOWN,
    as_json: AsJson = False,
) -> None:
    """List recorded orders, the last changed first."""
    rows = _rows(
        f"SELECT {_ORDER_COLUMNS} FROM OrderAudit ORDER BY JournalSeq DESC LIMIT ?",  # noqa: S608 - a constant
        (limit,),
    )
    if as_json:
        say_json({"orders": rows})
    elif rows:
        heads = ("OrderId", "ClientOrderId", "SubmittedTime", "Symbol", "Side", "Quantity")
        shown = (*heads, "Price", "Status")
        say(columns(shown, ([row[name] for name in shown] for row in rows)))
    else:
        say("no orders recorded")


@audit.command()
def show(
    order_id: Annotated[
        str, typer.Argument(metavar="ID", help="The client order id, or the broker's order id.")
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Show one recorded order with its fills."""
    found = _rows(
        f"SELECT {_ORDER_COLUMNS} FROM OrderAudit WHERE ClientOrderId = ?1 OR OrderId = ?1"  # noqa: S608 - a constant
        " ORDER BY ClientOrderId IS NOT ?1",
        (order_id,),
    )
    if not found:
        raise SetupError(
            f"No recorded order has the id {order_id}. 'backstop audit orders' lists them."
        )
    order = found[0]
    fills = _rows(
        f"SELECT {_FILL_COLUMNS} FROM FillAudit WHERE OrderId = ? ORDER BY FillTime, FillId",  # noqa: S608 - a constant
        (order["OrderId"],),
    )
    if as_json:
        say_json({"order": order, "fills": fills})
        return
    for name, value in order.items():
        say(f"{name:<{NAME_WIDTH}}  {_shown(name, value, order_id)}")
    if fills:
        say(columns(tuple(fills[0]), (tuple(fill.values()) for fill in fills)))
    else:
        say("no fills")


audit.command(short_help="Check every record, row, proof and signature.")(verify)
audit.command(short_help="Write a bundle that proves an order to others.")(prove)
audit.command(short_help="Write the record as files that never change.")(export)
audit.command("rotate-key")(rotate)


def _shown(name: str, value: object, order_id: str) -> object:
    """Return a value for people; a proof is for programs, and a page long."""
    if value is None:
        return "-"
    if name == "ExecutionProof":
        return f"signed; 'backstop audit prove {order_id}' writes it"
    return value


def _rows(query: str, parameters: Sequence[object]) -> list[dict[str, Any]]:
    database: Path = state_folder() / AUDIT_DATABASE
    with readable(database) as path, closing(open_for_reading(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query, parameters)]
