"""The demo's live view: orders, positions with their stops, proofs, faults as they happen."""

import sys
from collections import deque
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.core.book import Book
from backstop.core.step import Note, Tag
from backstop.domain.numbers import fraction_text, plain
from backstop.domain.order import OrderState

ORDERS_SHOWN = 14
LINES_SHOWN = 14

_STATE_STYLE = {
    OrderState.FILLED: "green",
    OrderState.UNKNOWN: "bold yellow",
    OrderState.REJECTED: "red",
    OrderState.NOT_SUBMITTED: "red",
    OrderState.CANCELLED: "dim",
}


class DemoView:
    """Draws on a terminal; elsewhere it prints one line per event.

    Args:
        to_stderr: keep standard output free for the summary.
    """

    def __init__(self, *, to_stderr: bool = False) -> None:
        self.console = Console(stderr=to_stderr)
        self._stream = sys.stderr if to_stderr else sys.stdout
        self._lines: deque[Text] = deque(maxlen=LINES_SHOWN)
        self._manager: CriticalSystemManager | None = None
        self._live: Live | None = None
        self.is_live = self.console.is_terminal

    def __enter__(self) -> Self:
        if self.is_live:
            self._live = Live(console=self.console, auto_refresh=False, transient=False)
            self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self.refresh()
            self._live.__exit__(None, None, None)

    def watch(self, manager: CriticalSystemManager) -> None:
        """Show the state of ``manager`` from now on."""
        self._manager = manager

    # -- lines -----------------------------------------------------------------------------------

    def say(self, sentence: str) -> None:
        """Tell what the story does next."""
        self._line(Text.assemble(("story  ", "bold cyan"), sentence))

    def fault(self, description: str) -> None:
        """Tell what went wrong on purpose."""
        self._line(Text.assemble(("fault  ", "bold red"), description))

    def note(self, note: Note) -> None:
        """Tell what the guard did."""
        style = "bold red" if note.tag is Tag.CRITICAL else "magenta"
        fields = " ".join(f"{name}={value}" for name, value in note.fields.items() if value != "")
        self._line(Text.assemble((f"{note.tag} ", style), f"{note.name} ", (fields, "dim")))

    def _line(self, line: Text) -> None:
        self._lines.append(line)
        if not self.is_live:
            print(line.plain, file=self._stream, flush=True)

    # -- the picture -----------------------------------------------------------------------------

    def refresh(self) -> None:
        """Draw the present state."""
        if self._live is None:
            return
        parts: list[object] = []
        if self._manager is not None:
            book = self._manager.book
            parts += [self._header(self._manager), _orders(book), _positions(book)]
        parts.append(Panel(Group(*self._lines), title="what happens", title_align="left"))
        self._live.update(Group(*parts), refresh=True)  # type: ignore[arg-type]

    def _header(self, manager: CriticalSystemManager) -> Text:
        book = manager.book
        state = book.trading_state(manager.now_ns())
        return Text.assemble(
            ("Backstop demo  ", "bold"),
            (str(state), "bold green" if state == "ACTIVE" else "bold yellow"),
            f"   orders {len(book.orders)}   trades {len(book.trades)}"
            f"   doubled trades ignored {book.counters.duplicate_trades}"
            f"   decisions {manager.steps}",
        )


def _orders(book: Book) -> Table:
    table = Table(title="orders", title_justify="left", expand=True)
    for column in ("order", "what", "state", "filled", "average", "verified by"):
        table.add_column(column)
    for order in list(book.orders.values())[-ORDERS_SHOWN:]:
        intent = order.intent
        average = order.average_price
        table.add_row(
            order.client_order_id,
            f"{intent.side} {intent.quantity} {intent.symbol} {intent.type}",
            Text(order.state, style=_STATE_STYLE.get(order.state, "")),
            f"{order.filled_quantity}/{intent.quantity}",
            "" if average is None else fraction_text(average, places=4),
            ", ".join(str(fill.trade_id) for fill in order.fills),
        )
    return table


def _positions(book: Book) -> Table:
    table = Table(title="positions", title_justify="left", expand=True)
    for column in ("contract", "quantity", "average", "stops cover", "knowledge"):
        table.add_column(column)
    for contract_id, view in sorted(book.positions.items()):
        cover = book.stop_cover(contract_id, view.quantity) if view.quantity else 0
        price = "" if view.average_price is None else f"{plain(view.average_price):f}"
        table.add_row(
            contract_id, f"{view.quantity:+d}", price if view.quantity else "", str(cover),
            str(view.knowledge),
        )  # fmt: skip
    return table
