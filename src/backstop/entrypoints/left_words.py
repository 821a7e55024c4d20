"""What a liquidation has still to get rid of, in words for the person who asked for it."""

from collections.abc import Sequence
from typing import Any

from backstop.core.liquidation import RemainingKind
from backstop.entrypoints.terminal import columns, say


def say_left(left: Sequence[dict[str, Any]], *, nothing: str) -> None:
    """Print what is left, as the API gives it; ``nothing`` where that is nothing.

    A position of which no witness speaks, but which no read has proven flat, is not called open.
    """
    if not left:
        say(nothing)
        return
    unproven = [it for it in left if it["kind"] == RemainingKind.POSITION and not it["quantity"]]
    if rows := [_row(it) for it in left if it not in unproven]:
        say(columns(("STILL OPEN", "SYMBOL", "QTY", "SIDE", "STATUS", "ORDER"), rows))
    for it in unproven:
        say(
            f"{it['symbol']}: nothing is known to be open, but no reads have proven it "
            f"(its position is {it['status']})"
        )


def _row(it: dict[str, Any]) -> tuple[object, ...]:
    is_position = it["kind"] == RemainingKind.POSITION
    quantity = f"{it['quantity']:+d}" if is_position else it["quantity"]
    order = it["broker_order_id"] or it["client_order_id"]
    return (it["kind"].lower(), it["symbol"], quantity, it["side"], it["status"], order)
