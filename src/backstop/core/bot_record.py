"""What is kept of each bot between steps: values, and the questions that others ask of them."""

from msgspec import Struct

from backstop.domain.bot import BotPolicy, BotState, BotTerms

BOTS_MAX = 64
"""Bots of one account; more of them are a mistake, such as a new name at every start."""


class Bot(Struct, frozen=True, kw_only=True):
    """One registered bot; its orders are those with its name as ``strategy_id``.

    Attributes:
        bot_id: its name.
        terms: what it registered for.
        registered_utc_us: when it did.
        state: what is believed of it.
        silent_utc_us: since when it is not alive; None while it is.
        to_close: contracts of which its share has still to be closed.
    """

    bot_id: str
    terms: BotTerms
    registered_utc_us: int
    state: BotState = BotState.ALIVE
    silent_utc_us: int | None = None
    to_close: tuple[str, ...] = ()

    @property
    def is_alive(self) -> bool:
        """Its entries are let through."""
        return self.state is BotState.ALIVE

    @property
    def withdraws_entries(self) -> bool:
        """Its working entries are to be cancelled."""
        return not self.is_alive and self.terms.policy is not BotPolicy.KEEP_PROTECTION
