"""What a seed decides before anything runs: how the venue is, how hard it storms, and when.

Each seed has its weather, so that faults also come alone and their traces can be read; one seed in
a few has all of it at once.
"""

from enum import StrEnum
from random import Random
from typing import Final

from msgspec import Struct

from backstop.adapters.projectx_server.config import ServerConfig, TokenExpiryOnHub
from backstop.simulator.exchange_config import (
    ExchangeConfig,
    LegPastMarket,
    LegsOnFlat,
    LegsOnPartialEntry,
    LegsOnPartialExit,
    PartialFill,
    Reversal,
    SiblingOnCancel,
    SiblingOnPartialLeg,
)

POSITIONS_LAG_S: Final = 0.95
"""Snapshots have been seen 0.8 s behind the stream; a guard allows for a second."""


class Weather(StrEnum):
    """What goes wrong in a seed."""

    CALM = "calm"  # nothing but the market
    GATEWAY = "gateway"  # answers and events are lost, late, doubled, reordered, untrue
    NETWORK = "network"  # connections drop, freeze and stay away for up to two minutes
    CRASH = "crash"  # kill -9 between any two awaits, power cuts, freezes and suspends
    DISK = "disk"  # full, broken and slow disks
    OTHERS = "others"  # manual trades, a second bot, the firm
    HURRICANE = "hurricane"  # all of it


class Plan(Struct, frozen=True, kw_only=True):
    """The plan of one seed.

    Attributes:
        bots: how many bots trade.
        pause_s: mean pause of one bot between two wishes.
        wildness: how often the market jumps, and how far; 1 is a busy day.
        intensity: chance that one call or event is hit by one kind of fault.
        every_s: mean pause between two disasters of the weather.
        positions_lag_s: how far reads of positions may lie behind the stream.
        lists_lag_s: how young orders and trades are that no list shows yet.
    """

    seed: int
    weather: Weather
    bots: int
    pause_s: float
    wildness: float
    intensity: float
    every_s: float
    positions_lag_s: float
    lists_lag_s: float
    exchange: ExchangeConfig
    server: ServerConfig

    @property
    def hits_calls(self) -> bool:
        """Answers and events go wrong one by one."""
        return self.weather in {Weather.GATEWAY, Weather.HURRICANE}

    def has(self, *weathers: Weather) -> bool:
        """Say whether this is one of ``weathers``, or all at once."""
        return self.weather in weathers or self.weather is Weather.HURRICANE


_WEATHERS: Final = (
    Weather.CALM,
    Weather.GATEWAY,
    Weather.GATEWAY,
    Weather.NETWORK,
    Weather.CRASH,
    Weather.CRASH,
    Weather.DISK,
    Weather.OTHERS,
    Weather.HURRICANE,
    Weather.HURRICANE,
)


def plan_of(seed: int) -> Plan:
    """Return what ``seed`` decides."""
    chance = Random(f"plan/{seed}")  # noqa: S311 - repeatable, nothing secret is drawn
    lag = Random(f"lag/{seed}")  # noqa: S311 - likewise
    weather = chance.choice(_WEATHERS)
    lags = weather in {Weather.GATEWAY, Weather.HURRICANE}
    return Plan(
        seed=seed,
        weather=weather,
        bots=chance.randint(2, 4),
        pause_s=chance.uniform(3.0, 15.0),
        wildness=chance.choice((0.2, 1.0, 1.0, 3.0)),
        intensity=chance.choice((0.002, 0.01, 0.03)),
        every_s=chance.uniform(12.0, 60.0),
        positions_lag_s=lag.choice((0.0, 0.3, POSITIONS_LAG_S)) if lags else 0.0,
        lists_lag_s=lag.choice((0.0, 2.0, 8.0)) if lags else 0.0,
        exchange=ExchangeConfig(
            seed=chance.getrandbits(32),
            accounts=(),
            contracts=(),
            partial_fill=chance.choice(tuple(PartialFill)),
            legs_on_flat=chance.choice(tuple(LegsOnFlat)),
            legs_on_partial_exit=chance.choice(tuple(LegsOnPartialExit)),
            leg_past_market=chance.choice(tuple(LegPastMarket)),
            sibling_on_manual_cancel=chance.choice(tuple(SiblingOnCancel)),
            legs_on_partial_entry=chance.choice(tuple(LegsOnPartialEntry)),
            sibling_on_partial_leg=chance.choice(tuple(SiblingOnPartialLeg)),
            reversal=chance.choice(tuple(Reversal)),
            show_pending_cancellation=chance.random() < 0.5,  # noqa: PLR2004 - a coin
            close_is_reduce_only=chance.random() < 0.5,  # noqa: PLR2004 - a coin
            price_collar_ticks=4000,
            trailing_move_events=chance.random() < 0.5,  # noqa: PLR2004 - a coin
        ),
        server=ServerConfig(
            retry_after=chance.random() < 0.5,  # noqa: PLR2004 - a coin
            logout_older_connections=chance.random() < 0.2,  # noqa: PLR2004 - one in five
            token_expiry_on_hub=chance.choice(tuple(TokenExpiryOnHub)),
            token_life_s=chance.choice((86_400, 86_400, 5_400)),
        ),
    )
