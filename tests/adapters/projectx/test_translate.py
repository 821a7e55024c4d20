import json
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Raw
from msgspec.structs import replace

from backstop.adapters.projectx import translate
from backstop.adapters.projectx.user_hub import rows_of
from backstop.domain.broker import BrokerStatus
from backstop.domain.commands import PlaceOrder
from backstop.domain.order import OrderType, Side
from backstop.errors import GatewayAnswerError

REPOSITORY = Path(__file__).parents[3]
DATA = REPOSITORY / os.environ.get("BACKSTOP_TEST_DATA", "../shared/data") / "gateway" / "projectx"

TRANSLATIONS = {
    "order": translate.broker_order,
    "trade": translate.broker_trade,
    "position": translate.broker_position,
    "account": translate.broker_account,
    "contract": translate.instrument,
}

ORDER = {
    "id": 3501000101,
    "accountId": 31004502,
    "contractId": "CON.F.US.MNQ.Z26",
    "symbolId": "F.US.MNQ",
    "creationTimestamp": "2026-10-02T14:31:07.6008362+00:00",
    "updateTimestamp": "2026-10-02T14:31:07.6081411+00:00",
    "status": 2,
    "type": 2,
    "side": 0,
    "size": 1,
    "fillVolume": 1,
    "filledPrice": 21010.25,
    "customTag": "g1-000042",
}
TRADE = {
    "id": 3090000022,
    "accountId": 31004502,
    "contractId": "CON.F.US.MNQ.Z26",
    "creationTimestamp": "2026-10-02T14:33:41.406128+00:00",
    "price": 21013.5,
    "profitAndLoss": 6.5,
    "fees": 0.36,
    "commissions": 0.25,
    "side": 1,
    "size": 1,
    "voided": False,
    "orderId": 3501000103,
}
POSITION = {
    "id": 840000123,
    "accountId": 31004502,
    "contractId": "CON.F.US.MNQ.Z26",
    "creationTimestamp": "2026-10-02T14:31:07.611387+00:00",
    "type": 2,
    "size": 2,
    "averagePrice": 21010.375,
}


def row(base: dict[str, Any], **changes: Any) -> bytes:
    return json.dumps({**base, **changes}).encode()


def recorded_rows() -> Iterator[tuple[str, Raw]]:
    """Every recorded row of the account and its orders, as (kind, JSON)."""

    def payload(path: Path) -> Any:
        return json.loads(path.read_text(), parse_float=Decimal)["payload"]

    encode = msgspec.json.Encoder(decimal_format="number").encode
    lists = {
        "historical_orders.json": "order",
        "historical_trades.json": "trade",
        "open_positions.json": "position",
        "accounts_search.json": "account",
        "contracts_available.json": "contract",
    }
    for path in sorted(DATA.glob("capture-*/*.json")):
        if path.name in lists:
            yield from ((lists[path.name], Raw(encode(one))) for one in payload(path))
        elif path.name == "stream_event_samples.json":
            for sample in payload(path)["samples"]:
                if sample["event_type"] in TRANSLATIONS and sample["raw_payload"]:
                    yield sample["event_type"], Raw(encode(sample["raw_payload"]))
    for path in DATA.glob("verified-shapes-*.json"):
        for target, body in payload(path).items():
            if target.startswith("GatewayUser"):
                yield target.removeprefix("GatewayUser").lower(), Raw(encode(body))


@pytest.mark.parametrize(("kind", "recorded"), list(recorded_rows()))
def test_every_recorded_row_becomes_a_fact_with_its_own_numbers(kind: str, recorded: Raw) -> None:
    (inner,) = rows_of(recorded)
    stated = json.loads(bytes(inner), parse_float=Decimal)

    fact: Any = TRANSLATIONS[kind](inner)

    match kind:
        case "order":
            assert (fact.broker_order_id, fact.custom_tag) == (stated["id"], stated["customTag"])
            assert fact.filled_price == stated.get("filledPrice")
            assert fact.stop_price == stated.get("stopPrice")
            assert fact.quantity == stated["size"]
            assert fact.parent_order_id == stated.get("parentOrderId")
            assert json.loads(fact.raw, parse_float=Decimal) == stated
        case "trade":
            assert (fact.trade_id, fact.price) == (stated["id"], stated["price"])
            assert fact.fees_micros == stated["fees"] * 1_000_000
            profit = stated.get("profitAndLoss")
            assert fact.profit_and_loss_micros == (profit and profit * 1_000_000)
        case "position":
            sign = {0: 0, 1: 1, 2: -1}[stated["type"]]
            assert fact.quantity == sign * stated["size"]
            assert fact.average_price == stated["averagePrice"]
        case "account":
            assert fact.balance_micros == stated["balance"] * 1_000_000
            assert fact.name == stated["name"]
        case "contract":
            assert fact.tick_value_micros == stated["tickValue"] * 1_000_000
            assert fact.tick_size == stated["tickSize"]
            assert stated["name"].startswith(fact.symbol)
            assert len(stated["name"]) == len(fact.symbol) + 2
        case _:
            pytest.fail(f"no expectation for {kind}")


def test_an_order_row_of_the_hub_is_read_whole() -> None:
    order = translate.broker_order(row(ORDER, stopPrice=21000.5, trailDistance=-40))

    assert order.broker_order_id == 3501000101
    assert order.status is BrokerStatus.FILLED
    assert order.type is OrderType.MARKET
    assert order.side is Side.BUY
    assert order.filled_price == Decimal("21010.25")
    assert order.stop_price == Decimal("21000.5")
    assert order.trail_distance_ticks == -40
    assert order.created_utc_us == 1790951467600836


def test_the_hub_and_rest_agree_on_a_time_that_rest_cuts() -> None:
    """The hub writes seven digits, REST six of them, cut and not rounded."""
    assert translate.utc_us("2026-08-19T20:51:31.4173699+00:00") == translate.utc_us(
        "2026-08-19T20:51:31.417369+00:00"
    )


@pytest.mark.parametrize(
    "text",
    ["2026-10-02T14:31:07Z", "2026-10-02T09:31:07-05:00", "2026-10-02T14:31:07"],
)
def test_every_written_form_of_an_instant_is_the_same_instant(text: str) -> None:
    assert translate.utc_us(text) == translate.utc_us("2026-10-02T14:31:07+00:00")


def test_a_time_survives_the_way_to_the_gateway_and_back() -> None:
    assert translate.utc_us(translate.timestamp(1790951467600836)) == 1790951467600836


def test_unknown_status_and_type_are_kept_as_live_and_foreign() -> None:
    order = translate.broker_order(row(ORDER, status=17, type=99))

    assert order.status is BrokerStatus.UNRECOGNISED
    assert order.status.is_live
    assert order.type is None


def test_unknown_members_are_ignored() -> None:
    assert translate.broker_order(row(ORDER, invented={"a": [1]})).broker_order_id == ORDER["id"]


@pytest.mark.parametrize(
    ("base", "kind", "changes"),
    [
        (ORDER, "order", {"side": 2}),
        (ORDER, "order", {"size": -1}),
        (ORDER, "order", {"id": 0}),
        (ORDER, "order", {"id": 2**63}),
        (ORDER, "order", {"id": "3501000101"}),
        (ORDER, "order", {"creationTimestamp": "yesterday"}),
        (ORDER, "order", {"filledPrice": "NaN"}),
        (ORDER, "order", {"customTag": "x" * 20_000}),
        (TRADE, "trade", {"size": 0}),
        (TRADE, "trade", {"price": None}),
        (TRADE, "trade", {"voided": 1}),
        (POSITION, "position", {"type": 0}),
        (POSITION, "position", {"type": 3}),
        (POSITION, "position", {"size": -2}),
    ],
)
def test_a_row_that_makes_no_sense_is_refused_with_its_fault(
    base: dict[str, Any], kind: str, changes: dict[str, Any]
) -> None:
    with pytest.raises(GatewayAnswerError, match=f"{kind} row"):
        TRANSLATIONS[kind](row(base, **changes))


def test_an_exponent_that_would_fill_the_memory_is_refused() -> None:
    text = row(TRADE).replace(b"21013.5", b"1e999999")

    with pytest.raises(GatewayAnswerError, match="out of any range"):
        translate.broker_trade(text)


def test_short_positions_are_negative_and_closed_ones_zero() -> None:
    assert translate.broker_position(row(POSITION)).quantity == -2
    assert translate.broker_position(row(POSITION, type=0, size=0)).quantity == 0


def test_money_finer_than_a_micro_never_looks_better_than_it_is() -> None:
    trade = translate.broker_trade(row(TRADE, fees=0.3600001, profitAndLoss=-0.0000001))

    assert trade.fees_micros == 360_001
    assert trade.profit_and_loss_micros == -1
    assert trade.commissions_micros == 250_000


@pytest.mark.parametrize(
    ("name", "symbol"),
    [("ESZ6", "ES"), ("6EZ6", "6E"), ("M2KH7", "M2K"), ("MNQZ26", "MNQ"), ("ODD", "ODD")],
)
def test_the_symbol_is_the_name_without_month_and_year(name: str, symbol: str) -> None:
    contract = {
        "id": "CON.F.US.X.Z26",
        "name": name,
        "description": "",
        "tickSize": 0.015625,
        "tickValue": 15.625,
        "activeContract": True,
        "symbolId": "F.US.X",
    }

    instrument = translate.instrument(row(contract))

    assert instrument.symbol == symbol
    assert instrument.tick_value_micros == 15_625_000


def test_a_tick_value_that_cannot_be_exact_is_refused() -> None:
    contract = {
        "id": "C",
        "name": "ESZ6",
        "description": "",
        "tickSize": 0.25,
        "tickValue": 0.0000001,
        "activeContract": True,
        "symbolId": "S",
    }

    with pytest.raises(GatewayAnswerError, match="finer than a micro"):
        translate.instrument(row(contract))


def test_bars_keep_their_instants_and_the_characters_of_their_closes() -> None:
    rows = b"""[{"t": "2026-10-02T14:35:00+00:00", "o": 1, "h": 2, "l": 0.5, "c": 6000.50, "v": 7},
                {"t": "2026-10-02T14:30:00", "o": 1, "h": 2, "l": 0.5, "c": -37.63, "v": 7}]"""

    later, earlier = translate.history_bars(rows)

    assert (str(later.close), str(earlier.close)) == ("6000.50", "-37.63")
    assert earlier.utc_us == translate.utc_us("2026-10-02T14:30:00+00:00")
    assert later.utc_us - earlier.utc_us == 300_000_000


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        (b"null", "array"),
        (b'[{"t": "2026-10-02T14:30:00+00:00"}]', "`c`"),
        (b'[{"t": "yesterday", "c": 1}]', "RFC3339"),
        (b'[{"t": "2026-10-02T14:30:00+00:00", "c": "NaN"}]', "not a number"),
        (b'[{"t": "2026-10-02T14:30:00+00:00", "c": "sNaN"}]', "not a number"),
        (b'[{"t": "2026-10-02T14:30:00+00:00", "c": 1e400}]', "out of any range"),
    ],
)
def test_one_bar_that_makes_no_sense_makes_the_history_useless(rows: bytes, fault: str) -> None:
    with pytest.raises(GatewayAnswerError, match=fault):
        translate.history_bars(rows)


def test_bracket_offsets_keep_their_sign_and_get_their_types() -> None:
    command = PlaceOrder(
        client_order_id="a",
        custom_tag="bs-a",
        account_id=1,
        contract_id="C",
        type=OrderType.LIMIT,
        side=Side.SELL,
        quantity=2,
        limit_price=Decimal("6000.25"),
        stop_loss_offset_ticks=40,
        take_profit_offset_ticks=-80,
    )

    body = translate.place_body(command)

    assert (body.type, body.side, body.size) == (1, 1, 2)
    assert body.stop_loss_bracket is not None
    assert (body.stop_loss_bracket.ticks, body.stop_loss_bracket.type) == (40, 4)
    assert body.take_profit_bracket is not None
    assert (body.take_profit_bracket.ticks, body.take_profit_bracket.type) == (-80, 1)

    trailing = translate.place_body(replace(command, stop_loss_trails=True))
    assert trailing.stop_loss_bracket is not None
    assert (trailing.stop_loss_bracket.ticks, trailing.stop_loss_bracket.type) == (40, 5)
    assert trailing.take_profit_bracket == body.take_profit_bracket


def test_rows_come_bare_enveloped_and_in_lists_of_both() -> None:
    bare, wrapped = row(ORDER), json.dumps({"action": 1, "data": ORDER}).encode()

    for argument, count in ((bare, 1), (wrapped, 1), (b"[" + bare + b"," + wrapped + b"]", 2)):
        rows = [translate.broker_order(one) for one in rows_of(Raw(argument))]
        assert [order.broker_order_id for order in rows] == [ORDER["id"]] * count
