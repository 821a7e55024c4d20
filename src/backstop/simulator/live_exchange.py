"""The exchange behind a running surface: each call finds it in the present.

Its owner's ``before`` brings feed and clock up to date ahead of each call, and ``after`` tells the
owner that something may be due earlier than it thought.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, Final

from backstop.simulator.exchange import Exchange, MarketHistory
from backstop.simulator.exchange_config import ExchangeConfig

OWN_CALLS: Final = frozenset(
    {"advance", "desk", "next_event_us", "now_us", "on_quote", "publish", "subscribe"}
)
"""What the owner itself does with the exchange, and what reads nothing that time changes."""


class LiveExchange(Exchange):
    """An exchange whose every other call is made in the present."""

    def __init__(
        self,
        config: ExchangeConfig,
        *,
        history: MarketHistory | None,
        before: Callable[[], object],
        after: Callable[[], object],
    ) -> None:
        super().__init__(config, history=history)
        self._before = before
        self._after = after


def _in_the_present(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def call(self: LiveExchange, *args: Any, **kwargs: Any) -> Any:
        self._before()
        try:
            return method(self, *args, **kwargs)
        finally:
            self._after()

    return call


for _name, _method in vars(Exchange).items():
    if callable(_method) and not _name.startswith("_") and _name not in OWN_CALLS:
        setattr(LiveExchange, _name, _in_the_present(_method))
