"""The guard in numbers, for a Prometheus server that asks every few seconds.

Each value is read off the guard at that moment; nothing is kept here. The values of each label are
a closed set of the code: no order, bot or message can make new ones, so the number of time series
is bounded whatever happens.
"""

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum

from fastapi import FastAPI
from msgspec import Struct
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from starlette.responses import Response

from backstop import __version__
from backstop.adapters.projectx_server.hub_limits import Misuse
from backstop.app.commit_waits import BOUNDS_S, CommitWaits
from backstop.core.policy import SECOND_NS
from backstop.core.trading_state import LatchKind, TradingState
from backstop.domain.commands import Severity
from backstop.domain.events import Hub
from backstop.domain.order import OrderState
from backstop.entrypoints.http.guard import Guard
from backstop.entrypoints.http.openapi import described
from backstop.entrypoints.http.position_view import PositionRow, position_rows
from backstop.entrypoints.http.status import health_view, working_orders

PATH = "/metrics"
MS_PER_S = 1000


class Pulse(StrEnum):
    """Signs of life whose age is told."""

    GUARD = "guard"  # to its watchdog
    WATCHDOG = "watchdog"
    ACCOUNT_READ = "account_read"  # the last complete read of the account
    BOT = "bot"  # of the bot that has been silent for longest


Sample = tuple[str, float | None]
"""A label's value, empty without a label, and the number; None is not known, and left out."""


class Gauge(Struct, frozen=True, kw_only=True):
    """One metric.

    Attributes:
        name: without the prefix ``backstop_``; the unit is part of it.
        words: what it tells.
        label: name of its label; empty for none.
        values: every value that the label can have.
        counts: it only goes up while the process lives.
        samples: reads it off the guard.
    """

    name: str
    words: str
    label: str = ""
    values: tuple[str, ...] = ()
    counts: bool = False
    samples: Callable[[Guard], Iterable[Sample]]


def add_metrics_route(api: FastAPI, guard: Guard) -> None:
    """Add the call to ``api``."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(GuardCollector(guard))

    keywords = described(errors=(401, 403))
    keywords["responses"][200] = {"description": "Metrics as Prometheus text.", "content": _TEXT}

    @api.get(PATH, response_class=Response, **keywords)
    async def metrics() -> Response:
        """Show the guard in numbers, in the text format of Prometheus."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)


_TEXT = {"text/plain": {"schema": {"type": "string"}}}


class GuardCollector(Collector):
    """Reads every metric off the guard whenever it is asked."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def collect(self) -> Iterator[Metric]:
        """Yield every metric as it is now."""
        for gauge in GAUGES:
            make = CounterMetricFamily if gauge.counts else GaugeMetricFamily
            family = make(
                f"backstop_{gauge.name}", gauge.words, labels=[gauge.label] if gauge.label else []
            )
            for value, number in gauge.samples(self._guard):
                if number is not None:
                    family.add_metric([value] if gauge.label else [], number)
            yield family
        yield _commits(self._guard.commit_waits)


COMMITS = "journal_commit_seconds"
COMMITS_WORDS = "How long the oldest record of a commit waited to be on disk."


def _commits(waits: CommitWaits) -> HistogramMetricFamily:
    bounds = (*(f"{bound:g}" for bound in BOUNDS_S), "+Inf")
    counts = waits.cumulative()
    return HistogramMetricFamily(
        f"backstop_{COMMITS}",
        COMMITS_WORDS,
        buckets=list(zip(bounds, map(float, counts), strict=True)),
        sum_value=waits.total_s,
    )


# -- what is read --------------------------------------------------------------------------------


def _positions(guard: Guard) -> tuple[PositionRow, ...]:
    return position_rows(guard.book, now_ns=guard.now_ns())


def _trading_state(guard: Guard) -> Iterator[Sample]:
    now = guard.book.trading_state(guard.now_ns())
    return ((state, state is now) for state in TradingState)


def _latches(guard: Guard) -> Iterator[Sample]:
    kinds = [latch.kind for latch in guard.book.latches]
    return ((kind, kinds.count(kind)) for kind in LatchKind)


def _orders(guard: Guard) -> Iterator[Sample]:
    counts = dict.fromkeys(OrderState, 0)
    for order in guard.book.orders.values():
        counts[order.state] += 1
    yield from counts.items()


def _open_alerts(guard: Guard) -> Iterator[Sample]:
    counts = dict.fromkeys(Severity, 0)
    for alert in guard.book.alerts.alerts.values():
        counts[alert.severity] += alert.is_open
    yield from counts.items()


def _naked_max_s(guard: Guard) -> float:
    rows_ms = max((row.naked_ms_max for row in _positions(guard)), default=0)
    return max(guard.book.protection.naked_max_ns / SECOND_NS, rows_ms / MS_PER_S)


def _pulses(guard: Guard) -> Iterator[Sample]:
    watch, read_ns = guard.watch, guard.book.audit.complete_ns
    bots_ms = [bot.heartbeat_age_ms for bot in guard.bots.report()]
    if watch is not None:
        yield Pulse.GUARD, _seconds(watch.pulse_age_ms)
        yield Pulse.WATCHDOG, _seconds(watch.watchdog_age_ms)
    if read_ns:
        yield Pulse.ACCOUNT_READ, (guard.now_ns() - read_ns) / SECOND_NS
    yield Pulse.BOT, _seconds(max((ms for ms in bots_ms if ms is not None), default=None))


def _seconds(age_ms: int | None) -> float | None:
    return None if age_ms is None else age_ms / MS_PER_S


def _hubs(guard: Guard) -> Iterator[Sample]:
    links = guard.book.links
    yield Hub.USER, links.user_up
    yield Hub.MARKET, links.market_up


def _bot_connections(guard: Guard) -> Iterator[Sample]:
    return ((hub.name, hub.connected) for hub in guard.bot_hubs)


def _bot_misuse(guard: Guard) -> Iterator[Sample]:
    if guard.bot_hubs:
        for what in Misuse:
            yield what, sum(hub.misuse.get(what, 0) for hub in guard.bot_hubs)


def _stall_s(guard: Guard) -> float | None:
    return None if guard.watch is None else _seconds(guard.watch.stall_ms_max)


def _restarts(guard: Guard) -> float | None:
    return None if guard.watch is None else guard.watch.guard_restarts


def _one(read: Callable[[Guard], float | None]) -> Callable[[Guard], Iterable[Sample]]:
    """Return how a metric without a label is read."""
    return lambda guard: (("", read(guard)),)


GAUGES = (
    Gauge(
        name="info",
        words="Always 1; the label tells the version.",
        label="version",
        values=(__version__,),
        samples=lambda _: ((__version__, 1),),
    ),
    Gauge(
        name="healthy",
        words="1 while the guard is ACTIVE and sound, as GET /v1/health says; else 0.",
        samples=_one(lambda guard: not health_view(guard).reasons),
    ),
    Gauge(
        name="trading_state",
        words="1 for the state that holds for the whole account, 0 for the others.",
        label="state",
        values=tuple(TradingState),
        samples=_trading_state,
    ),
    Gauge(
        name="sends",
        words="1 when the gates are open and orders reach the gateway; 0: dry run.",
        samples=_one(lambda guard: guard.book.policy.sends),
    ),
    Gauge(
        name="latches",
        words="Latches that only a person lifts.",
        label="kind",
        values=tuple(LatchKind),
        samples=_latches,
    ),
    Gauge(
        name="component_faults",
        words="Components that are not well; GET /v1/status names them.",
        samples=_one(lambda guard: len(guard.components)),
    ),
    Gauge(
        name="orders",
        words="Orders that the guard holds, by state; finished ones leave after a while.",
        label="state",
        values=tuple(OrderState),
        samples=_orders,
    ),
    Gauge(
        name="working_orders",
        words="Orders that can still fill at the venue, legs and those of others included.",
        samples=_one(lambda guard: len(working_orders(guard.book))),
    ),
    Gauge(
        name="positions",
        words="Positions that are not known to be flat.",
        samples=_one(lambda guard: len(_positions(guard))),
    ),
    Gauge(
        name="naked_positions",
        words="Positions that their stops do not cover now.",
        samples=_one(lambda guard: sum(row.naked_ms > 0 for row in _positions(guard))),
    ),
    Gauge(
        name="naked_seconds",
        words="How long the longest uncovered position has been so; 0 when all are covered.",
        samples=_one(
            lambda guard: max((row.naked_ms for row in _positions(guard)), default=0) / MS_PER_S
        ),
    ),
    Gauge(
        name="naked_seconds_max",
        words="The longest that any position ever was uncovered.",
        samples=_one(_naked_max_s),
    ),
    Gauge(
        name="liquidations",
        words="Liquidations and closes that are not over.",
        samples=_one(lambda guard: len(guard.book.liquidating)),
    ),
    Gauge(
        name="alerts",
        words="Alerts raised for the account, by the number of the newest.",
        counts=True,
        samples=_one(lambda guard: guard.book.alerts.last_id),
    ),
    Gauge(
        name="alerts_open",
        words="Alerts that nobody has acknowledged.",
        label="severity",
        values=tuple(Severity),
        samples=_open_alerts,
    ),
    Gauge(
        name="heartbeat_age_seconds",
        words="Age of the newest sign of life; absent where there is none to wait for.",
        label="source",
        values=tuple(Pulse),
        samples=_pulses,
    ),
    Gauge(
        name="bots",
        words="Bots that are registered.",
        samples=_one(lambda guard: len(guard.bots.report())),
    ),
    Gauge(
        name="hub_connected",
        words="1 while the hub is connected.",
        label="hub",
        values=tuple(Hub),
        samples=_hubs,
    ),
    Gauge(
        name="bot_connections",
        words="Hub connections of bots that are open; absent without a gateway.",
        label="hub",
        values=("user", "market"),
        samples=_bot_connections,
    ),
    Gauge(
        name="bot_misuse",
        words="What bots were refused or disconnected for on the hubs of the gateway, and market "
        "data that slow ones did not get; absent without a gateway.",
        label="what",
        values=tuple(Misuse),
        counts=True,
        samples=_bot_misuse,
    ),
    Gauge(
        name="event_loop_stall_seconds_max",
        words="The longest time for which the event loop did not get round; absent when embedded.",
        samples=_one(_stall_s),
    ),
    Gauge(
        name="standstills",
        words="How often the guard was found not to have run: the machine slept, for example.",
        counts=True,
        samples=_one(lambda guard: guard.book.standstills),
    ),
    Gauge(
        name="guard_restarts",
        words="How often the watchdog had to start the guard again.",
        counts=True,
        samples=_one(_restarts),
    ),
    Gauge(
        name="journal_records",
        words="Number of the newest record of the journal, which may not be on disk yet.",
        counts=True,
        samples=_one(lambda guard: guard.journal_seq),
    ),
)
"""Every metric but the histogram of the journal's waits, in the order of the page."""
