"""The demo's live view: orders, positions with their stops, proofs, faults as they happen."""

import sys
from collections import deque
from fractions import Fraction
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.core.book import Book
from backstop.core.step import Note, Tag
from backstop.core.tracked_order import final_quantity
from backstop.domain.numbers import fraction_text
from backstop.domain.order import OrderState

ORDERS_SHOWN = 14
LINES_SHOWN = 14

ORDERS_FRAME = 8
"""Rows around the orders: title and frame of their table, the header above, the cursor below."""

WIDE_COLUMNS = 100
"""From this width on an order takes one row, below it two."""

LINES_LEAST = 8
"""Rows of the screen that the newest events get, whatever else there is to show."""

PANEL_FRAME = 2
"""Rows of the frame around the events."""

PANEL_MARGIN = 4
"""Columns of that frame, with a space on either side."""

AVERAGE_PLACES = 4
"""Decimals of an average price for people: finer than any tick."""

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
            self._live.update(self._screen(whole=True))
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
        self._live.update(self._screen(), refresh=True)

    def _screen(self, *, whole: bool = False) -> Group:
        """Return the picture: what fits on the screen, or the ``whole`` of it to leave behind.

        A screen too low shows few orders rather than hiding the newest events below its edge.
        """
        parts: list[RenderableType] = []
        if self._manager is not None:
            book = self._manager.book
            positions = _positions(book)
            around = self._rows(positions) + PANEL_FRAME + LINES_LEAST + ORDERS_FRAME
            rows_each = 1 if self.console.width >= WIDE_COLUMNS else 2
            room = (self.console.height - around) // rows_each
            orders = _orders(book, ORDERS_SHOWN if whole else min(ORDERS_SHOWN, max(1, room)))
            parts = [self._header(self._manager), orders, positions]
        room = self.console.height - 1 - self._rows(*parts) - PANEL_FRAME
        events = list(self._lines) if whole else self._newest_events(room)
        parts.append(Panel(Group(*events), title="what happens", title_align="left"))
        return Group(*parts)

    def _rows(self, *parts: RenderableType) -> int:
        """Return the rows of the screen that ``parts`` take."""
        return len(self.console.render_lines(Group(*parts), pad=False)) if parts else 0

    def _newest_events(self, room: int) -> list[Text]:
        """Return the newest events that ``room`` rows hold, oldest first; at least the newest."""
        options = self.console.options.update_width(self.console.width - PANEL_MARGIN)
        events: deque[Text] = deque()
        for line in reversed(self._lines):
            room -= len(self.console.render_lines(line, options))
            if room < 0 and events:
                break
            events.appendleft(line)
        return list(events)

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


def _orders(book: Book, shown: int) -> Table:
    table = Table(title="orders", title_justify="left", expand=True)
    for column in ("order", "what", "state", "filled", "average", "verified by"):
        table.add_column(column)
    for order in list(book.orders.values())[-shown:]:
        intent, quantity = order.intent, final_quantity(order)
        average = order.average_price
        table.add_row(
            order.client_order_id,
            f"{intent.side} {quantity} {intent.symbol} {intent.type}",
            Text(order.state, style=_STATE_STYLE.get(order.state, "")),
            f"{order.filled_quantity}/{quantity}",
            "" if average is None else fraction_text(average, places=AVERAGE_PLACES),
            ", ".join(str(fill.trade_id) for fill in order.fills),
        )
    return table


def _positions(book: Book) -> Table:
    table = Table(title="positions", title_justify="left", expand=True)
    for column in ("contract", "quantity", "average", "stops cover", "knowledge"):
        table.add_column(column)
    for contract_id, view in sorted(book.positions.items()):
        cover = book.stop_cover(contract_id, view.quantity) if view.quantity else 0
        average = view.average_price if view.quantity else None
        table.add_row(
            contract_id,
            f"{view.quantity:+d}",
            "" if average is None else fraction_text(Fraction(average), places=AVERAGE_PLACES),
            str(cover),
            str(view.knowledge),
        )
    return table
