"""Who looks over the gateway's shoulder: its exchange and its faults, with every call shown first.

The rules of the storm judge what a call would do before it is done.
"""

from collections.abc import Callable
from typing import Protocol

from backstop.adapters.projectx.wire import ModifyBody, PlaceBody
from backstop.adapters.projectx_server.interference import Call, Treatment
from backstop.adapters.projectx_server.venue import Outcome
from backstop.simulator.faults import FaultPlan
from backstop.storm.lagging_exchange import LaggingExchange


class CallWatch(Protocol):
    """Who looks at what reaches the exchange through the gateway."""

    def on_place(self, body: PlaceBody) -> None:
        """Look at an order."""

    def on_modify(self, body: ModifyBody) -> None:
        """Look at a change."""

    def on_change(self, kind: str, key: int | str) -> None:
        """Look at a cancel of an order, or a close of a contract's position."""


class WatchedExchange(LaggingExchange):
    """An exchange that shows the calls of the gateway's clients before it acts on them."""

    watcher: CallWatch

    def place(self, body: PlaceBody) -> Outcome:
        """Show and act; an order by hand has no tag and is not shown."""
        if body.custom_tag is not None:
            self.watcher.on_place(body)
        return super().place(body)

    def place_by_others(self, body: PlaceBody) -> Outcome:
        """Act for somebody else, also for one who has tags."""
        return super().place(body)

    def cancel_by_others(self, account_id: int, order_id: int) -> Outcome:
        """Cancel for somebody else."""
        return super().cancel(account_id, order_id)

    def modify(self, body: ModifyBody) -> Outcome:
        """Show and act."""
        self.watcher.on_modify(body)
        return super().modify(body)

    def cancel(self, account_id: int, order_id: int) -> Outcome:
        """Show and act."""
        self.watcher.on_change("cancel", order_id)
        return super().cancel(account_id, order_id)

    def close_position(self, account_id: int, contract_id: str) -> Outcome:
        """Show and act."""
        self.watcher.on_change("close", contract_id)
        return super().close_position(account_id, contract_id)

    def partial_close(self, account_id: int, contract_id: str, size: int) -> Outcome:
        """Show and act."""
        self.watcher.on_change("close", contract_id)
        return super().partial_close(account_id, contract_id, size)


class WatchedFaults(FaultPlan):
    """The fault layer, which shows every call that the server understood.

    Attributes:
        on_call: hears of each.
        at_next_order: does something, once, right before the venue gets the next order.
    """

    on_call: Callable[[Call], None]
    at_next_order: Callable[[], None] | None = None

    def treat_call(self, call: Call) -> Treatment:
        """Show the call, then say what happens to it."""
        self.on_call(call)
        if call.endpoint == "Order/place" and self.at_next_order is not None:
            act, self.at_next_order = self.at_next_order, None
            act()
        return super().treat_call(call)
