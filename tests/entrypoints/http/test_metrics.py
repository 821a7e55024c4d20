"""The guard in numbers: what a Prometheus server reads, through the real server."""

import re
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from msgspec import Struct
from prometheus_client.parser import text_string_to_metric_families

from backstop.adapters.projectx_server.hub_limits import Misuse
from backstop.app.commit_waits import BOUNDS_S, CommitWaits
from backstop.app.watch_link import WatchReport
from backstop.core.policy import SECOND_NS
from backstop.core.trading_state import TradingState
from backstop.domain.broker import BrokerPosition
from backstop.domain.events import GuardStoodStill, PositionReported, Source, WatchdogLost
from backstop.domain.order import OrderState
from backstop.entrypoints.http.metrics import COMMITS, GAUGES

RULES = Path(__file__).parents[3] / "docs" / "reference" / "alert-rules.yml"

Samples = dict[tuple[str, str], float]


async def samples(desk: Any, guard: Any) -> Samples:
    """Return every sample of the page by its name and the value of its one label."""
    async with desk.calling(guard) as api, api.session.get(api.url + "/metrics") as response:
        assert response.status == 200
        assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
        text = await response.text()
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def watched(**changes: Any) -> WatchReport:
    members: dict[str, Any] = {
        "pulse_age_ms": 120,
        "stall_ms_max": 7,
        "watchdog_process_id": 4711,
        "watchdog_age_ms": 80,
        "guard_restarts": 2,
        "lost": "",
    }
    return WatchReport(**(members | changes))


async def test_a_sound_guard_in_numbers(desk: Any) -> None:
    guard = desk.guard()
    guard.watch = watched()
    guard.journal_seq = 17
    guard.clock_ns += 3 * SECOND_NS
    seen = await samples(desk, guard)

    assert seen["backstop_healthy", ""] == 1
    assert [state for state in TradingState if seen["backstop_trading_state", state]] == ["ACTIVE"]
    assert seen["backstop_heartbeat_age_seconds", "guard"] == 0.12
    assert seen["backstop_heartbeat_age_seconds", "watchdog"] == 0.08
    assert seen["backstop_heartbeat_age_seconds", "account_read"] == 3
    assert seen["backstop_event_loop_stall_seconds_max", ""] == 0.007
    assert seen["backstop_guard_restarts_total", ""] == 2
    assert seen["backstop_journal_records_total", ""] == 17
    assert seen["backstop_hub_connected", "USER"] == 1
    assert seen["backstop_naked_seconds", ""] == 0


async def test_what_is_not_known_is_absent_and_not_zero(desk: Any) -> None:
    seen = await samples(desk, desk.guard())

    assert ("backstop_heartbeat_age_seconds", "guard") not in seen
    assert ("backstop_event_loop_stall_seconds_max", "") not in seen
    assert ("backstop_heartbeat_age_seconds", "bot") not in seen


async def test_orders_are_counted_by_state(desk: Any) -> None:
    guard = desk.guard()
    await guard.submit_order(desk.request())
    seen = await samples(desk, guard)

    counts = {state: seen["backstop_orders", state] for state in OrderState}
    assert sum(counts.values()) == len(guard.book.orders) == 1
    assert counts[guard.book.orders["entry-1"].state] == 1


async def test_a_position_without_its_stop_is_naked_for_as_long(desk: Any) -> None:
    guard = desk.guard()
    guard.feed(
        PositionReported(
            utc_us=desk.UTC_US,
            source=Source.HUB,
            position=BrokerPosition(
                position_id=1,
                account_id=4711,
                contract_id=desk.ES.contract_id,
                quantity=2,
                average_price=desk.request().limit_price,
                created_utc_us=desk.UTC_US,
            ),
        )
    )
    guard.clock_ns += 4 * SECOND_NS
    seen = await samples(desk, guard)

    assert (seen["backstop_positions", ""], seen["backstop_naked_positions", ""]) == (1, 1)
    assert seen["backstop_naked_seconds", ""] == 4
    assert seen["backstop_naked_seconds_max", ""] == 4


async def test_alerts_are_counted_and_open_ones_stand_by_severity(desk: Any) -> None:
    guard = desk.guard()
    guard.feed(WatchdogLost(utc_us=desk.UTC_US, reason="its process died"))
    guard.feed(GuardStoodStill(utc_us=desk.UTC_US, unguarded_ms=9_000, asleep_ms=9_000))
    seen = await samples(desk, guard)

    assert seen["backstop_healthy", ""] == 0
    assert seen["backstop_alerts_total", ""] == guard.book.alerts.last_id == 2
    assert seen["backstop_alerts_open", "CRITICAL"] == 1
    assert seen["backstop_alerts_open", "WARNING"] == 1
    assert seen["backstop_standstills_total", ""] == 1


async def test_the_waits_for_the_disk_are_a_histogram(desk: Any) -> None:
    guard = desk.guard()
    for waited_s in (0.0004, 0.002, 0.002, 0.3, 7.0):
        guard.commit_waits.add(waited_s)
    seen = await samples(desk, guard)
    name = f"backstop_{COMMITS}"

    assert seen[f"{name}_count", ""] == 5
    assert abs(seen[f"{name}_sum", ""] - 7.3044) < 1e-9
    assert seen[f"{name}_bucket", "0.001"] == 1
    assert seen[f"{name}_bucket", "0.0025"] == 3
    assert seen[f"{name}_bucket", "0.5"] == 4
    assert seen[f"{name}_bucket", "+Inf"] == 5


def test_a_wait_on_a_bound_is_within_it() -> None:
    waits = CommitWaits()
    waits.add(BOUNDS_S[0])

    assert set(waits.cumulative()) == {1}


class ABotHub(Struct, frozen=True, kw_only=True):
    name: str
    connected: int
    misuse: dict[str, int]


async def test_bots_at_the_gateway_and_what_they_were_refused(desk: Any) -> None:
    guard = desk.guard()
    assert not [name for name, _ in await samples(desk, guard) if "backstop_bot_" in name]

    guard.bot_hubs = (
        ABotHub(name="user", connected=2, misuse={Misuse.FLOOD: 1}),
        ABotHub(name="market", connected=3, misuse={Misuse.FLOOD: 4, Misuse.QUOTE_MERGED: 7}),
    )
    seen = await samples(desk, guard)

    assert seen["backstop_bot_connections", "market"] == 3
    assert seen["backstop_bot_misuse_total", "flood"] == 5
    assert seen["backstop_bot_misuse_total", "quote_merged"] == 7
    assert seen["backstop_bot_misuse_total", "hub_full"] == 0


async def test_every_label_has_only_the_values_that_the_page_lists(desk: Any) -> None:
    """Whatever a caller names an order or a bot, no new time series comes of it."""
    guard = desk.guard()
    guard.watch = watched()
    await guard.submit_order(desk.request("new-series", strategy_id="another one"))
    listed = {f"backstop_{gauge.name}": set(gauge.values) for gauge in GAUGES}
    seen = await samples(desk, guard)

    strange = {
        (name, value)
        for name, value in seen
        if value and not name.startswith(f"backstop_{COMMITS}") and value not in listed[name]
    }
    assert strange == set()


async def test_without_the_token_nothing_is_shown(desk: Any) -> None:
    async with (
        desk.calling(desk.guard()) as api,
        aiohttp.ClientSession() as stranger,
        stranger.get(api.url + "/metrics") as response,
    ):
        assert response.status == 401
        assert "backstop_" not in await response.text()


def test_every_alert_rule_asks_for_metrics_that_exist() -> None:
    rules = [
        rule
        for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    ]
    existing = {f"backstop_{it.name}{'_total' if it.counts else ''}" for it in GAUGES}
    existing |= {f"backstop_{COMMITS}_{part}" for part in ("bucket", "sum", "count")}
    asked = {name for rule in rules for name in re.findall(r"backstop_\w+", rule["expr"])}

    assert len({rule["alert"] for rule in rules}) == len(rules) > 5
    assert asked - existing == set()
    assert all(rule["annotations"]["summary"] for rule in rules)
    values = {value for gauge in GAUGES for value in gauge.values}
    named = {
        value
        for rule in rules
        for words in re.findall(r'(?:state|severity|source|hub|kind)=~?"([^"]+)"', rule["expr"])
        for value in words.split("|")
    }
    assert named - values == set()
