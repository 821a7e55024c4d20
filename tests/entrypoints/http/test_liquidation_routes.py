"""Liquidations and closes through a real server: statuses, shapes, and refusals that say why."""

from decimal import Decimal
from typing import Any

import pytest

from backstop.core.policy import MILLISECOND_NS
from backstop.domain.broker import BrokerPosition, BrokerTrade
from backstop.domain.events import (
    AccountAudited,
    Answer,
    PositionCloseAnswered,
    PositionReported,
    Source,
    TradeReported,
)
from backstop.domain.order import Side

ASKED = {"reason": "the news", "operator": "Ann"}


def hold(desk: Any, guard: Any, quantity: int) -> None:
    """Let the guard hear of trades and of the position that they make."""
    side = Side.BUY if quantity > 0 else Side.SELL
    guard.feed(
        TradeReported(
            utc_us=desk.UTC_US,
            source=Source.HUB,
            trade=BrokerTrade(
                trade_id=77 + quantity,
                broker_order_id=9001,
                account_id=4711,
                contract_id=desk.ES.contract_id,
                side=side,
                quantity=abs(quantity),
                price=Decimal(5000),
                fees_micros=0,
                created_utc_us=desk.UTC_US,
            ),
        )
    )
    row(desk, guard, quantity)


def row(desk: Any, guard: Any, quantity: int) -> None:
    guard.feed(
        PositionReported(
            utc_us=desk.UTC_US,
            source=Source.HUB,
            position=BrokerPosition(
                position_id=1,
                account_id=4711,
                contract_id=desk.ES.contract_id,
                quantity=quantity,
                average_price=Decimal(5000),
            ),
        )
    )


def audit(desk: Any, guard: Any) -> None:
    """Let a complete read come back that shows an empty account."""
    guard.clock_ns += 300 * MILLISECOND_NS
    guard.feed(
        AccountAudited(
            utc_us=desk.UTC_US,
            reason="test",
            sent_ns=guard.clock_ns,
            orders=(),
            live_orders=(),
            trades=(),
            positions=(),
        )
    )


async def test_a_liquidation_is_accepted_and_can_be_followed_until_it_is_flat(desk: Any) -> None:
    guard = desk.guard()
    hold(desk, guard, 2)
    async with desk.calling(guard) as caller:
        status, begun = await caller.ask("POST", "/v1/liquidate", json=ASKED)
        assert (status, begun["state"], begun["causes"]) == (202, "CLOSING", ["the news"])
        (left,) = begun["remaining"]
        assert (left["kind"], left["symbol"], left["quantity"]) == ("POSITION", "ES", 2)

        _, again = await caller.ask(
            "POST", "/v1/liquidate", json={"reason": "the drawdown", "operator": "risk"}
        )
        assert again["id"] == begun["id"]
        _, body = await caller.ask("GET", "/v1/status")
        assert (body["trading_state"], body["liquidations"][0]["id"]) == ("HALTED", begun["id"])

        hold(desk, guard, -2)
        row(desk, guard, 0)
        guard.feed(
            PositionCloseAnswered(
                utc_us=desk.UTC_US, contract_id=desk.ES.contract_id, answer=Answer.YES
            )
        )
        audit(desk, guard)
        audit(desk, guard)
        status, over = await caller.ask("GET", f"/v1/liquidations/{begun['id']}")
        assert (status, over["state"], over["remaining"]) == (200, "FLAT", [])
        assert over["causes"] == ["the news", "the drawdown"]
        assert [it["operator"] for it in over["requests"]] == ["Ann", "risk"]
        assert over["ended_at"] is not None
        _, body = await caller.ask("GET", "/v1/status")
        assert body["liquidations"] == []
        _, listed = await caller.ask("GET", "/v1/liquidations")
        assert [it["id"] for it in listed["liquidations"]] == [begun["id"]]


async def test_with_a_symbol_only_that_contract_is_latched(desk: Any) -> None:
    guard = desk.guard()
    hold(desk, guard, 2)
    async with desk.calling(guard) as caller:
        status, begun = await caller.ask("POST", "/v1/liquidate", json={**ASKED, "symbol": "ES"})
        assert (status, begun["symbol"]) == (202, "ES")
        _, body = await caller.ask("GET", "/v1/status")

    assert body["trading_state"] == "ACTIVE"


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"operator": "Ann"}, "MISSING_MEMBER", "reason"),
        ({"reason": "the news"}, "MISSING_MEMBER", "operator"),
        ({**ASKED, "reason": "  "}, "INVALID_VALUE", "reason"),
        ({**ASKED, "operator": ""}, "INVALID_VALUE", "operator"),
        ({**ASKED, "symbol": "XYZ"}, "UNKNOWN_SYMBOL", "symbol"),
        ({**ASKED, "symbol": 5}, "INVALID_VALUE", "symbol"),
        ({**ASKED, "at": "once"}, "UNKNOWN_MEMBER", "at"),
    ],
)
async def test_a_liquidation_needs_a_reason_a_name_and_a_symbol_that_exists(
    desk: Any, body: dict[str, Any], code: str, field: str
) -> None:
    guard = desk.guard()
    async with desk.calling(guard) as caller:
        status, said = await caller.ask("POST", "/v1/liquidate", json=body)

    assert (status, said["error"]["code"], said["error"]["field"]) == (422, code, field)
    assert guard.book.liquidations == {}


async def test_a_symbol_before_the_contracts_are_known_is_no_wrong_symbol(desk: Any) -> None:
    async with desk.calling(desk.guard(active=False)) as caller:
        status, said = await caller.ask("POST", "/v1/liquidate", json={**ASKED, "symbol": "ES"})
        assert (status, said["error"]["code"]) == (409, "NOT_POSSIBLE")
        status, begun = await caller.ask("POST", "/v1/liquidate", json=ASKED)
        assert (status, begun["state"]) == (202, "LATCHED")


async def test_an_unknown_liquidation_is_404(desk: Any) -> None:
    async with desk.calling(desk.guard()) as caller:
        status, said = await caller.ask("GET", "/v1/liquidations/liq-1")

    assert (status, said["error"]["code"]) == (404, "UNKNOWN_LIQUIDATION")


async def test_a_liquidation_in_dry_run_says_that_nothing_was_sent(desk: Any) -> None:
    guard = desk.guard(dry_run=True, execute=False)
    hold(desk, guard, 2)
    async with desk.calling(guard) as caller:
        status, said = await caller.ask("POST", "/v1/liquidate", json=ASKED)

    assert (status, said["state"], said["sends"]) == (202, "LATCHED", False)
    assert said["message"].startswith("nothing was sent (dry run")
    assert said["gate"]["code"] == "GATE_DRY_RUN"
    assert "EXECUTE=1 backstop liquidate" in said["message"]
    assert [it["kind"] for it in said["would_send"]] == ["ClosePosition"]
    assert len(said["remaining"]) == 1


# -- closing a position --------------------------------------------------------------------------


@pytest.mark.parametrize("body", [None, {}, {"quantity": 2}])
async def test_a_close_answers_with_the_row_of_the_position(desk: Any, body: Any) -> None:
    guard = desk.guard()
    hold(desk, guard, 2)
    async with desk.calling(guard) as caller:
        status, said = await caller.ask("POST", "/v1/positions/ES/close", json=body)
        assert (status, said["symbol"], said["quantity"]) == (202, "ES", 2)
        _, run = await caller.ask("GET", f"/v1/liquidations/{said['liquidation_id']}")

    assert (run["latches"], run["state"]) == (False, "CLOSING")
    assert guard.book.latches == ()


async def test_a_part_is_closed_by_contract_id_as_well(desk: Any) -> None:
    guard = desk.guard()
    hold(desk, guard, 3)
    async with desk.calling(guard) as caller:
        status, said = await caller.ask(
            "POST", f"/v1/positions/{desk.ES.contract_id}/close", json={"quantity": 1}
        )
        _, run = await caller.ask("GET", f"/v1/liquidations/{said['liquidation_id']}")

    assert (status, run["quantity"]) == (202, 1)


async def test_more_than_is_open_is_refused_with_what_would_pass(desk: Any) -> None:
    guard = desk.guard()
    hold(desk, guard, 2)
    async with desk.calling(guard) as caller:
        status, said = await caller.ask("POST", "/v1/positions/ES/close", json={"quantity": 3})

    (denial,) = said["denials"]
    assert (status, denial["code"], denial["max_quantity"]) == (422, "POSITION_FLIP", 2)
    assert said["would_send"] == []


@pytest.mark.parametrize(
    ("path", "body", "code", "field"),
    [
        ("XYZ", {}, "UNKNOWN_SYMBOL", "symbol"),
        ("ES", {"quantity": 0}, "INVALID_VALUE", "quantity"),
        ("ES", {"quantity": 1.5}, "INVALID_VALUE", "quantity"),
        ("ES", {"size": 1}, "UNKNOWN_MEMBER", "size"),
    ],
)
async def test_a_close_that_makes_no_sense_is_422(
    desk: Any, path: str, body: dict[str, Any], code: str, field: str
) -> None:
    guard = desk.guard()
    hold(desk, guard, 2)
    async with desk.calling(guard) as caller:
        status, said = await caller.ask("POST", f"/v1/positions/{path}/close", json=body)

    assert (status, said["error"]["code"], said["error"]["field"]) == (422, code, field)


async def test_a_position_that_is_proven_flat_answers_at_once(desk: Any) -> None:
    guard = desk.guard()
    row(desk, guard, 0)
    audit(desk, guard)
    audit(desk, guard)
    async with desk.calling(guard) as caller:
        status, said = await caller.ask("POST", "/v1/positions/ES/close")

    assert (status, said["quantity"], said["liquidation_id"]) == (200, 0, None)


async def test_one_part_at_a_time(desk: Any) -> None:
    guard = desk.guard()
    hold(desk, guard, 3)
    async with desk.calling(guard) as caller:
        await caller.ask("POST", "/v1/positions/ES/close", json={"quantity": 1})
        status, said = await caller.ask("POST", "/v1/positions/ES/close", json={"quantity": 1})

    assert (status, said["error"]["code"]) == (409, "NOT_POSSIBLE")


async def test_a_close_in_dry_run_shows_the_request_that_was_kept_back(desk: Any) -> None:
    guard = desk.guard(dry_run=True, execute=False)
    hold(desk, guard, 2)
    async with desk.calling(guard) as caller:
        status, said = await caller.ask("POST", "/v1/positions/ES/close", json={"quantity": 1})

    assert (status, said["denials"][0]["code"]) == (422, "GATE_DRY_RUN")
    (planned,) = said["would_send"]
    assert (planned["contract_id"], planned["quantity"]) == (desk.ES.contract_id, 1)
