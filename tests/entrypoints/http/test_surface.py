"""The promises to programs in other languages, line by line: names, shapes, statuses, errors.

A table for what can be said of one call, and a story for what takes several. Everything is asked
of a real guard that sends to a simulated venue, over HTTP.
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
from tests.entrypoints.http.target import KNOWN_ORDER, Target, a_target

PATIENCE_S = 30
POLL_S = 0.02


class OneOf(NamedTuple):
    """A word of a closed set."""

    words: frozenset[str]


def one_of(*words: str) -> OneOf:
    return OneOf(frozenset(words))


NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z")
TRADING_STATE = one_of("STARTING", "RECOVERING", "ACTIVE", "REDUCING", "HALTED")
SIDE = one_of("BUY", "SELL")
TYPE = one_of("MARKET", "LIMIT", "STOP", "TRAILING_STOP")
KNOWLEDGE = one_of("KNOWN", "STALE", "UNKNOWN")
ORDER_STATE = one_of(
    "INTENDED",
    "SENT",
    "WORKING",
    "PARTIALLY_FILLED",
    "FILLED",
    "CANCELLED",
    "REJECTED",
    "EXPIRED",
    "UNKNOWN",
    "NOT_SUBMITTED",
)
LIQUIDATION_STATE = one_of("LATCHED", "CLOSING", "VERIFYING", "ESCALATED", "FLAT")

PROTECTIVE = {"broker_order_id": int, "price": NUMBER, "quantity": int}
POSITION = {
    "symbol": str,
    "contract_id": str,
    "quantity": int,
    "average_price": NUMBER,
    "stop": (PROTECTIVE, None),
    "target": (PROTECTIVE, None),
    "knowledge": KNOWLEDGE,
    "naked_ms": int,
}
ORDER = {
    "client_order_id": str,
    "broker_order_id": (int, None),
    "symbol": str,
    "side": SIDE,
    "quantity": int,
    "type": TYPE,
    "state": ORDER_STATE,
    "filled_quantity": int,
    "average_price": (NUMBER, None),
    "fills": [{"fill_id": int, "price": NUMBER, "quantity": int, "time": TIME}],
    "venue_message": str,
    "transitions": [{"from": ORDER_STATE, "to": ORDER_STATE, "cause": str, "time": TIME}],
}
DENIAL = {
    "code": re.compile(r"[A-Z][A-Z0-9_]+"),
    "message": str,
    "limit": (str, None),
    "value": (str, None),
    "max_quantity": (int, None),
}
VALIDATION = {
    "decision": one_of("APPROVED", "DENIED"),
    "denials": [DENIAL],
    "rounded": {"limit_price": (NUMBER, None), "stop_loss_price": (NUMBER, None)},
    "r_multiple": (NUMBER, None),
}
LIQUIDATION = {
    "id": str,
    "state": LIQUIDATION_STATE,
    "causes": [str],
    "remaining": [{"kind": str, "symbol": str, "quantity": int}],
}
ERROR = {"error": {"code": re.compile(r"[A-Z_]+"), "field": (str, None), "message": str}}
HEALTH = {"trading_state": TRADING_STATE, "reasons": [str]}
STATUS = {
    "trading_state": TRADING_STATE,
    "positions": [POSITION],
    "working_orders": [{"broker_order_id": int, "tag": (str, None), "symbol": str}],
    "unknown_orders": [ORDER],
    "gates": dict,
    "limits": dict,
    "protection": dict,
    "heartbeats": dict,
}
MATRIX = {"matrix": {"ES": {"NQ": {"value": (NUMBER, None), "origin": str, "age_s": (int, None)}}}}


class Line(NamedTuple):
    """One promise about one call."""

    method: str
    path: str
    status: int
    shape: Any
    body: Any = None


ENTRY: dict[str, Any] = {"symbol": "MES", "side": "BUY", "quantity": 1, "type": "MARKET"}
NAMED = {**ENTRY, "client_order_id": "never-sent"}
BY_ANN = {"reason": "a test", "operator": "ann"}

READINGS = (
    Line("GET", "/v1/status", 200, STATUS),
    Line("GET", "/v1/positions", 200, {"positions": [POSITION]}),
    Line("GET", "/v1/exposure", 200, {"limits": [{"value": NUMBER, "headroom": NUMBER}]}),
    Line("GET", "/v1/correlations", 200, MATRIX),
    Line("GET", "/v1/orders", 200, {"orders": [ORDER]}),
    Line("GET", f"/v1/orders/{KNOWN_ORDER}", 200, ORDER),
    Line("GET", f"/v1/orders/{KNOWN_ORDER}/proof", 200, dict),
    Line("GET", "/v1/alerts", 200, {"alerts": [{"id": int, "code": str}]}),
    Line("GET", "/v1/audit/checkpoint", 200, {"size": int, "root_hash": str, "note": str}),
    Line("GET", "/v1/audit/records?from=1", 200, {"records": [{"seq": int}]}),
    Line("GET", "/v1/audit/proof/1", 200, {"inclusion": [str], "leaf_index": int}),
    Line("GET", "/v1/account", 200, {"balance": (NUMBER, None), "realised": NUMBER}),
    Line("GET", "/v1/openapi.json", 200, {"openapi": str, "paths": dict}),
    Line("POST", "/v1/orders/validate", 200, VALIDATION, ENTRY),
    Line("POST", "/v1/orders/validate", 200, VALIDATION, {**ENTRY, "side": "LONG"}),
    Line("POST", "/v1/orders/validate", 200, VALIDATION, {**ENTRY, "side": "SHORT"}),
    Line(
        "POST",
        f"/v1/orders/{KNOWN_ORDER}/verify",
        200,
        {"verdict": one_of("VERIFIED", "BREACH", "REFUTED", "UNKNOWN"), "reason": str},
        {"expected_quantity": 1, "max_slippage_ticks": "100", "timeout_s": 5},
    ),
)

REFUSALS = (
    Line("POST", "/v1/orders", 422, ERROR, {**NAMED, "symbol": "NOPE"}),
    Line("POST", "/v1/orders/validate", 422, ERROR, {**ENTRY, "symbol": "NOPE"}),
    *(
        Line("POST", "/v1/orders", 422, ERROR, {**NAMED, "quantity": quantity})
        for quantity in (0, -1, 1.5, 1.0, "1", True, None, 10**30)
    ),
    *(
        Line("POST", "/v1/orders", 422, ERROR, {**NAMED, "type": "LIMIT", "limit_price": price})
        for price in ("NaN", "Infinity", "five", "", "1e999", "5_000", "\u0665")
    ),
    Line("POST", "/v1/orders", 422, ERROR, {**NAMED, "side": "HOLD"}),
    Line("POST", "/v1/orders", 422, ERROR, {**NAMED, "type": "ICEBERG"}),
    Line("POST", "/v1/orders", 422, ERROR, {**NAMED, "unheard_of": 1}),
    Line("POST", "/v1/orders", 422, ERROR, ENTRY),
    Line("POST", "/v1/orders", 422, ERROR, []),
    Line("POST", "/v1/resume", 422, ERROR, {"reason": "no name"}),
    Line("POST", "/v1/resume", 422, ERROR, {"operator": "no reason"}),
    Line("POST", "/v1/resume", 422, ERROR, {"operator": " ", "reason": "blank"}),
    Line("POST", "/v1/halt", 422, ERROR, {}),
    Line("POST", "/v1/liquidate", 422, ERROR, {"reason": "no name"}),
    *(
        Line("POST", path, 422, ERROR, {**BY_ANN, member: " "})
        for path in ("/v1/halt", "/v1/resume", "/v1/liquidate", "/v1/positions/MES/close")
        for member in BY_ANN
    ),
    Line("POST", "/v1/liquidate", 422, ERROR, {**BY_ANN, "symbol": "NOPE"}),
    Line("POST", "/v1/positions/NOPE/close", 422, ERROR, {}),
    Line("PUT", "/v1/positions/NOPE/protection", 422, ERROR, {"stop_price": "1"}),
    Line("PUT", "/v1/positions/MES/protection", 422, ERROR, {}),
    Line("POST", "/v1/alerts/1/ack?operator=%0Aann", 422, ERROR),
    Line("POST", "/v1/alerts/1/ack", 422, ERROR, {"operator": " "}),
    Line("POST", "/v1/alerts/one/ack", 422, ERROR),
    Line("GET", "/v1/orders?limit=0", 422, ERROR),
    Line("GET", "/v1/orders/nobody", 404, ERROR),
    Line("DELETE", "/v1/orders/nobody", 404, ERROR),
    Line("PATCH", "/v1/orders/nobody", 404, ERROR, {"quantity": 1}),
    Line("GET", "/v1/orders/nobody/proof", 404, ERROR),
    Line("POST", "/v1/orders/nobody/verify", 404, ERROR, {}),
    Line("GET", "/v1/liquidations/nobody", 404, ERROR),
    Line("GET", "/v1/audit/proof/999999999", 404, ERROR),
    Line("POST", "/v1/alerts/999999999/ack", 404, ERROR),
    Line("DELETE", f"/v1/orders/{KNOWN_ORDER}", 409, ERROR),
)


def misfits(value: Any, shape: Any, place: str = "$") -> list[str]:
    """Return where ``value`` is not of ``shape``; members that the shape leaves out are free."""
    match shape:
        case tuple() if not isinstance(shape, OneOf):
            return [] if any(not misfits(value, it) for it in shape) else [f"{place}: {value!r}"]
        case None:
            fits = value is None
        case OneOf():
            fits = value in shape.words
        case re.Pattern():
            fits = isinstance(value, str) and shape.fullmatch(value) is not None
        case dict():
            if not isinstance(value, dict):
                return [f"{place}: {value!r}"]
            lacking = [f"{place}.{name} is missing" for name in shape.keys() - value.keys()]
            return lacking + [
                fault
                for name in shape.keys() & value.keys()
                for fault in misfits(value[name], shape[name], f"{place}.{name}")
            ]
        case [inner]:
            if not isinstance(value, list):
                return [f"{place}: {value!r}"]
            return [it for one in value for it in misfits(one, inner, f"{place}[]")]
        case _:
            fits = isinstance(value, shape) and type(value) in {shape, dict}
    return [] if fits else [f"{place}: {value!r}"]


def floats(value: Any, place: str = "$") -> list[str]:
    """Return every JSON number with a fraction: money and prices are text."""
    match value:
        case float():
            return [f"{place}: {value}"]
        case dict():
            return [it for name, one in value.items() for it in floats(one, f"{place}.{name}")]
        case list():
            return [it for one in value for it in floats(one, f"{place}[]")]
        case _:
            return []


class Caller:
    """A program that knows the address and the token, and nothing else."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.session = requests.Session()
        self.session.headers.update(target.headers)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        answer = self.session.request(method, self.target.url + path, json=body, timeout=PATIENCE_S)
        return answer.status_code, answer.json()

    def until(self, path: str, is_so: Callable[[Any], bool]) -> Any:
        """Ask until the answer is as it must become."""
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            _, said = self.ask("GET", path)
            if is_so(said):
                return said
            assert time.monotonic() < deadline_s, said
            time.sleep(POLL_S)

    def quantity(self) -> int:
        _, said = self.ask("GET", "/v1/positions")
        return sum(row["quantity"] for row in said["positions"] if row["symbol"] == "MES")

    def level(self, ticks: int) -> str:
        """Return a price so many ticks above the market."""
        guard = self.target.guard
        instrument = guard.instrument("MES")
        quote = guard.manager.quotes.reference(instrument.contract_id)
        assert quote is not None
        assert quote.last is not None
        return f"{quote.last + ticks * instrument.tick_size:f}"


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    yield from _callers(tmp_path_factory.mktemp("surface"))


@pytest.fixture(scope="module")
def dry_caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    folder = tmp_path_factory.mktemp("dry")
    yield from _callers(folder, known=False, DRY_RUN=True, EXECUTE=False)


def _callers(folder: Path, **settings: Any) -> Iterator[Caller]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        with a_target(folder, STOP_REQUIRED=False, ALLOW_FLIP=False, **settings) as target:
            yield Caller(target)


# -- one call ------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", READINGS, ids=lambda line: f"{line.method} {line.path}")
def test_a_call_answers_in_the_promised_shape(caller: Caller, line: Line) -> None:
    status, said = caller.ask(line.method, line.path, line.body)

    assert (status, misfits(said, line.shape)) == (line.status, [])
    assert line.path.endswith(("openapi.json", "proof")) or floats(said) == []


@pytest.mark.parametrize(
    "line", REFUSALS, ids=lambda line: f"{line.status} {line.method} {line.path} {line.body}"
)
def test_what_cannot_be_done_is_refused_in_one_shape_and_changes_nothing(
    caller: Caller, line: Line
) -> None:
    before = caller.target.state()

    status, said = caller.ask(line.method, line.path, line.body)

    assert (status, misfits(said, line.shape), set(said)) == (line.status, [], {"error"})
    assert caller.target.state() == before


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer wrong", "Basic {token}", "{token}"])
def test_nothing_but_health_and_the_page_is_answered_without_the_token(
    caller: Caller, header: str
) -> None:
    token = caller.target.headers["Authorization"].removeprefix("Bearer ")
    given = {"Authorization": header.format(token=token)} if header else {}
    _, document = caller.ask("GET", "/v1/openapi.json")
    before = caller.target.state()

    for path, methods in {**document["paths"], "/v1/openapi.json": {"get": {}}}.items():
        for method in methods:
            answer = requests.request(
                method, caller.target.url + path, headers=given, timeout=PATIENCE_S
            )
            if path == "/v1/health":
                assert answer.status_code in {200, 503}
            else:
                assert (answer.status_code, set(answer.json())) == (401, {"error"}), path

    page = requests.get(caller.target.url, headers=given, timeout=PATIENCE_S)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert caller.target.state() == before


def test_health_is_good_exactly_while_there_is_nothing_to_say_against_it(caller: Caller) -> None:
    answer = requests.get(f"{caller.target.url}/v1/health", timeout=PATIENCE_S)
    said = answer.json()

    assert misfits(said, HEALTH) == []
    sound = said["trading_state"] == "ACTIVE" and not said["reasons"]
    assert answer.status_code == (200 if sound else 503)


def test_the_stream_tells_prices_as_text(caller: Caller) -> None:
    newest = caller.target.guard.manager.journal_seq
    told: list[Any] = []
    with caller.session.get(
        f"{caller.target.url}/v1/events?from=1", stream=True, timeout=PATIENCE_S
    ) as stream:
        for line in stream.iter_lines():
            if line.startswith(b"data: "):
                told.append(json.loads(line.removeprefix(b"data: ")))
            if told and told[-1]["seq"] >= newest:
                break

    assert [it["seq"] for it in told[:newest]] == list(range(1, newest + 1))
    assert any("price" in json.dumps(it["payload"]) for it in told)
    assert [fault for it in told for fault in floats(it)] == []


def test_metrics_are_text_for_prometheus(caller: Caller) -> None:
    answer = caller.session.get(f"{caller.target.url}/metrics", timeout=PATIENCE_S)

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert "backstop_info{" in answer.text


def test_the_description_knows_every_promised_call(caller: Caller) -> None:
    _, document = caller.ask("GET", "/v1/openapi.json")

    promised = {
        (line.method.lower(), re.sub(r"\?.*", "", line.path))
        for line in READINGS
        if line.path != "/v1/openapi.json"
    }
    known = {
        (method, path): re.compile(re.sub(r"\{[a-z_]+\}", "[^/]+", path))
        for path, methods in document["paths"].items()
        for method in methods
    }
    for method, path in promised:
        assert any(
            method == by and pattern.fullmatch(path) for (by, _), pattern in known.items()
        ), (method, path)


# -- several calls -------------------------------------------------------------------------------


def test_dry_run_answers_with_what_would_be_sent(dry_caller: Caller) -> None:
    for symbol in ("MES", dry_caller.target.guard.instrument("MES").contract_id):
        status, said = dry_caller.ask("POST", "/v1/orders", {**NAMED, "symbol": symbol})

        assert (status, [it["code"] for it in said["denials"]]) == (422, ["GATE_DRY_RUN"])
        assert misfits(said["denials"], [DENIAL]) == []
        assert said["would_send"]["quantity"] == 1
        assert said["would_send"]["custom_tag"]
    assert dry_caller.ask("GET", "/v1/orders/never-sent")[0] == 404


def test_the_largest_quantity_is_exact(caller: Caller) -> None:
    """It would pass, and one more would not."""
    status, said = caller.ask("POST", "/v1/orders/validate", {**ENTRY, "quantity": 100_000})
    largest = min(it["max_quantity"] for it in said["denials"] if it["max_quantity"] is not None)

    def decision(quantity: int) -> str:
        _, judged = caller.ask("POST", "/v1/orders/validate", {**ENTRY, "quantity": quantity})
        return str(judged["decision"])

    assert (status, said["decision"]) == (200, "DENIED")
    assert (decision(largest), decision(largest + 1)) == ("APPROVED", "DENIED")


def test_prices_come_as_text_or_numbers_and_go_as_text(caller: Caller) -> None:
    text = caller.level(-200)
    for price in (text, float(text)):
        _, said = caller.ask(
            "POST", "/v1/orders/validate", {**ENTRY, "type": "LIMIT", "limit_price": price}
        )
        assert Decimal(said["rounded"]["limit_price"]) == Decimal(text)


@pytest.mark.parametrize("kind", ["LIMIT", "STOP", "TRAILING_STOP"])
def test_an_order_rests_is_repeated_changed_and_cancelled(caller: Caller, kind: str) -> None:
    """Under its own name, once, whatever its type."""
    name, level = f"rests-{kind}", caller.level(-200 if kind == "LIMIT" else 200)
    member = "limit_price" if kind == "LIMIT" else "stop_price"
    contract_id = caller.target.guard.instrument("MES").contract_id
    wish = {
        "client_order_id": name,
        "symbol": contract_id,
        "side": "LONG",
        "quantity": 2,
        "type": kind,
        member: level,
        "strategy_id": "surface",
    }
    path = f"/v1/orders/{name}"

    status, record = caller.ask("POST", "/v1/orders", wish)
    assert (status, misfits(record, ORDER)) == (201, [])
    assert (record["symbol"], record["side"], record["type"]) == ("MES", "BUY", kind)
    caller.until(path, lambda said: said["state"] == "WORKING")
    status, again = caller.ask("POST", "/v1/orders", wish)
    assert (status, again["broker_order_id"]) == (200, record["broker_order_id"])
    status, said = caller.ask("POST", "/v1/orders", {**wish, "quantity": 1})
    assert (status, said["error"]["code"]) == (409, "CONFLICT")
    if kind != "TRAILING_STOP":
        moved = caller.level(-220 if kind == "LIMIT" else 220)
        assert caller.ask("PATCH", path, {member: moved})[0] == 200
        caller.until(path, lambda said: Decimal(said[member]) == Decimal(moved))
    assert caller.ask("DELETE", path)[0] == 200
    caller.until(path, lambda said: said["state"] == "CANCELLED")


def test_a_position_is_protected_and_closed_in_part_without_a_latch(caller: Caller) -> None:
    stop, target = caller.level(-300), caller.level(300)
    levels = {"stop_price": stop, "take_profit_price": target}
    entry = {**ENTRY, "client_order_id": "bought", "quantity": 4}
    assert caller.ask("POST", "/v1/orders", entry)[0] == 201
    caller.until("/v1/orders/bought", lambda said: said["state"] == "FILLED")
    held = caller.quantity()

    status, row = caller.ask("PUT", "/v1/positions/MES/protection", levels)
    assert (status, misfits(row, POSITION)) == (200, [])
    assert [Decimal(row[leg]["price"]) for leg in ("stop", "target")] == [
        Decimal(stop),
        Decimal(target),
    ]
    assert sum(stop["quantity"] for stop in row["stops"]) == held

    status, said = caller.ask("POST", "/v1/positions/MES/close", {"quantity": held + 1})
    assert status in {409, 422}, said
    assert caller.ask("POST", "/v1/positions/MES/close", {"quantity": 1})[0] == 202
    caller.until("/v1/positions", lambda _: caller.quantity() == held - 1)
    assert caller.ask("POST", "/v1/positions/MES/close")[0] == 202
    caller.until("/v1/positions", lambda _: caller.quantity() == 0)
    over = caller.until("/v1/status", lambda said: said["liquidations"] == [])
    assert over["latches"] == []


def test_a_halt_and_a_liquidation_take_a_person_to_end(caller: Caller) -> None:
    """A second call joins the first; reading the alerts re-arms nothing."""
    wish = {**ENTRY, "client_order_id": "to-be-flattened"}
    status, said = caller.ask("POST", "/v1/orders", wish)
    assert status == 201, said
    caller.until("/v1/orders/to-be-flattened", lambda said: said["state"] == "FILLED")

    status, said = caller.ask("POST", "/v1/halt", BY_ANN)
    assert (status, said["trading_state"]) == (200, "HALTED")
    status, said = caller.ask("POST", "/v1/orders", {**ENTRY, "client_order_id": "halted"})
    assert (status, said["denials"][0]["code"]) == (422, "STATE_HALTED")

    status, run = caller.ask("POST", "/v1/liquidate", BY_ANN)
    assert (status, misfits(run, LIQUIDATION)) == (202, [])
    status, joined = caller.ask("POST", "/v1/liquidate", {**BY_ANN, "reason": "another"})
    if joined["id"] == run["id"]:  # else the first was over already
        assert joined["causes"] == ["a test", "another"]
    path = f"/v1/liquidations/{joined['id']}"
    flat = caller.until(path, lambda said: said["state"] == "FLAT")
    assert flat["remaining"] == []
    assert caller.quantity() == 0

    first, *others = caller.ask("GET", "/v1/alerts?open=true")[1]["alerts"]
    status, said = caller.ask("POST", f"/v1/alerts/{first['id']}/ack", {"operator": "ann"})
    assert (status, said["acknowledged_by"]) == (200, "ann")
    for alert in others:
        assert caller.ask("POST", f"/v1/alerts/{alert['id']}/ack?operator=ann")[0] == 200
    assert caller.ask("GET", "/v1/alerts")[1]["open"] == 0
    assert caller.ask("GET", "/v1/status")[1]["trading_state"] == "HALTED"
    assert caller.session.get(f"{caller.target.url}/v1/health", timeout=9).status_code == 503

    status, said = caller.ask("POST", "/v1/resume", BY_ANN)
    assert (status, said["latches"]) == (200, [])
