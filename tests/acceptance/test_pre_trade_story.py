"""What an order has to pass, as a bot in any language meets it: over HTTP, at a real venue."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

RULES = {
    "DRY_RUN": "0",
    "EXECUTE": "1",
    "BACKSTOP_INSTRUMENTS": "MES,MNQ",
    "MAX_POSITION": "0.6",
    "MAX_ORDER_QUANTITY": "20",
    "MAX_ORDERS_PER_SECOND": "100",
    "DUPLICATE_WINDOW_MS": "60000",
    "RISK_BUDGET": "1000000",
    "ES_NQ_MAX_COMBINED_EXPOSURE": "1000000",
    "CLOCK_OFFSET_MAX_SECONDS": "0",
}
COLLAR = Decimal("1.05")
REST = 100
"""Points below the market at which an order rests for as long as a test takes."""


class Bot:
    """Asks one guard; each order has a name and a stop of its own, so that none is a double."""

    def __init__(self, guard: Any) -> None:
        self.guard = guard
        self.names = 0
        self.market = 0

    async def look(self) -> None:
        """Learn where the market is, from the collar of an absurd price."""
        body = {"symbol": "MES", "side": "BUY", "quantity": 1, "type": "LIMIT", "limit_price": "1"}
        _, said = await self.guard.ask("POST", "/v1/orders/validate", body)
        (collar,) = [it for it in said["denials"] if it["code"] == "PRICE_COLLAR"]
        assert collar["max_quantity"] == 0
        self.market = int(Decimal(collar["limit"].split(" to ")[1]) / COLLAR)

    def order(self, **members: Any) -> dict[str, Any]:
        """Return an entry at the market with a stop, unless ``members`` say otherwise."""
        self.names += 1
        sign = -1 if members.get("side") == "SELL" else 1
        body = {
            "client_order_id": f"n{self.names}",
            "symbol": "MES",
            "side": "BUY",
            "quantity": 1,
            "type": "MARKET",
            "stop_loss_price": str(self.market - sign * (150 + self.names)),
        }
        return body | members

    def resting(self, **members: Any) -> dict[str, Any]:
        return {"type": "LIMIT", "limit_price": str(self.market - REST)} | members

    async def refusals(self, **members: Any) -> dict[str, int | None]:
        """Return the codes of a what-if with the largest quantities that would pass."""
        body = self.order(**members)
        del body["client_order_id"]
        status, said = await self.guard.ask("POST", "/v1/orders/validate", body)
        assert status == 200, said
        assert (said["decision"] == "APPROVED") is (said["denials"] == [])
        return {it["code"]: it["max_quantity"] for it in said["denials"]}

    async def send(self, **members: Any) -> str:
        """Submit an order that must be taken, and return its name."""
        body = self.order(**members)
        status, said = await self.guard.ask("POST", "/v1/orders", body)
        assert status == 201, said
        return str(body["client_order_id"])

    async def refused(self, **members: Any) -> dict[str, Any]:
        """Submit an order that must be refused; return its refusals by their codes, in order."""
        status, said = await self.guard.ask("POST", "/v1/orders", self.order(**members))
        assert status == 422, said
        return {it["code"]: it for it in said["denials"]}

    async def change(self, name: str, **members: Any) -> tuple[int, list[str]]:
        """Ask for a change; return the status and the codes of its refusals."""
        status, said = await self.guard.ask("PATCH", f"/v1/orders/{name}", members)
        return status, [it["code"] for it in said.get("denials", ())]

    async def filled(self, name: str) -> None:
        await self.guard.until(f"/v1/orders/{name}", lambda said: said["state"] == "FILLED")

    async def holds(self, quantity: int) -> None:
        await self.guard.until(
            "/v1/positions",
            lambda said: [row["quantity"] for row in said["positions"]] == [quantity],
        )


@asynccontextmanager
async def a_bot(bench: Any, **settings: str) -> AsyncIterator[Bot]:
    async with bench.venue(), bench.guard(**(RULES | settings)) as guard:
        await guard.active()
        bot = Bot(guard)
        await bot.look()
        yield bot


async def test_every_largest_quantity_is_exact_and_a_moved_order_counts_once(bench: Any) -> None:
    async with a_bot(bench) as bot:
        await bot.filled(await bot.send(quantity=2))
        await bot.holds(2)
        name = await bot.send(**bot.resting(quantity=2))

        assert await bot.refusals(quantity=10) == {"POSITION_TOO_LARGE": 2}
        assert await bot.refusals(quantity=3) == {"POSITION_TOO_LARGE": 2}
        assert await bot.refusals(quantity=2) == {}
        assert await bot.change(name, limit_price=str(bot.market - REST + 5)) == (200, [])
        assert await bot.refusals(quantity=2) == {}
        assert await bot.refusals(quantity=30) == {"SIZE_TOO_LARGE": 20, "POSITION_TOO_LARGE": 2}
        assert await bot.refusals(side="SELL", quantity=2) == {}
        flip = await bot.refusals(side="SELL", quantity=3)
        assert flip["POSITION_FLIP"] == 2
        assert await bot.change(name, quantity=1) == (200, [])
        await bot.guard.until(f"/v1/orders/{name}", lambda said: said["quantity"] == 1)
        assert await bot.refusals(quantity=3) == {}
        await bot.guard.ask("DELETE", f"/v1/orders/{name}")
        await bot.guard.until(f"/v1/orders/{name}", lambda said: said["state"] == "CANCELLED")
        assert await bot.refusals(quantity=5) == {"POSITION_TOO_LARGE": 4}


async def test_a_change_hears_what_a_new_order_would_hear_and_less_risk_passes(bench: Any) -> None:
    async with a_bot(bench) as bot:
        name = await bot.send(**bot.resting(quantity=2))

        assert await bot.change(name, limit_price=str(bot.market * 2)) == (422, ["PRICE_COLLAR"])
        assert await bot.change(name, limit_price=str(bot.market - 500)) == (
            422,
            ["BRACKET_STOP_SIDE"],
        )
        assert await bot.change(name, limit_price="0") == (422, ["PRICE_INVALID"])
        assert (await bot.change(name, quantity=3))[0] == 409, "more is a new order"
        assert (await bot.change(name, stop_price=str(bot.market)))[0] == 409
        twin = bot.order(**bot.resting(quantity=2, stop_loss_price=str(bot.market - 400)))
        await bot.guard.ask("POST", "/v1/orders", twin)
        again = twin | {"client_order_id": "again"}
        status, said = await bot.guard.ask("POST", "/v1/orders", again)
        assert (status, [it["code"] for it in said["denials"]]) == (422, ["DUPLICATE_ORDER"])
        assert said["denials"][0]["max_quantity"] is None
        status, said = await bot.guard.ask("POST", "/v1/orders", twin)
        assert status == 200, "the same once more is no double"
        limits = {"max_position": "0.1"}
        status, _ = await bot.guard.ask("PATCH", "/v1/account/limits", limits)
        assert status == 200
        assert (await bot.change(name, limit_price=str(bot.market - REST + 1)))[1] == [
            "POSITION_TOO_LARGE"
        ]
        assert await bot.change(name, limit_price=str(bot.market - REST - 1)) == (200, [])
        for wrong in ({"max_position": "0.57"}, {"max_position": "5"}, {"max_position": "NaN"}):
            status, _ = await bot.guard.ask("PATCH", "/v1/account/limits", wrong)
            assert status in {409, 422}


async def test_a_kill_file_refuses_the_very_next_entry_and_no_exit(bench: Any) -> None:
    async with a_bot(bench) as bot:
        await bot.filled(await bot.send(quantity=2))
        await bot.holds(2)
        name = await bot.send(**bot.resting())
        (bench.folder / "state" / "KILL").touch()

        refused = await bot.refused(symbol="MNQ", quantity=1)
        assert next(iter(refused)) == "STATE_HALTED"
        assert "KILL" in refused["STATE_HALTED"]["message"]
        turned = await bot.refused(side="SELL", quantity=3)
        assert {it["max_quantity"] for it in turned.values()} == {2}
        assert next(iter(turned)) == "STATE_HALTED"
        exit_ = await bot.send(side="SELL", quantity=2, stop_loss_price=None)
        await bot.filled(exit_)
        await bot.guard.until(f"/v1/orders/{name}", lambda said: said["state"] == "CANCELLED")


async def test_dry_run_says_every_reason_in_its_order_and_sends_nothing(bench: Any) -> None:
    async with a_bot(bench, DRY_RUN="1", BACKSTOP_INSTRUMENTS="MES,6E", STOP_REQUIRED="1") as bot:
        wrong = await bot.refused(
            symbol="6E", quantity=1000, stop_loss_price=None, limit_price="1.1", type="LIMIT"
        )
        alone = await bot.refused(quantity=1)
        _, said = await bot.guard.ask("GET", "/v1/orders")

    assert next(iter(wrong)) == "GATE_DRY_RUN"
    assert list(wrong)[1:3] == ["STOP_REQUIRED", "SIZE_TOO_LARGE"]
    assert all(it["max_quantity"] is not None for it in wrong.values())
    assert list(alone) == ["GATE_DRY_RUN"]
    assert said["orders"] == []
