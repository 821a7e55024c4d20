"""The pictures of the pages: a day at a desk, on a phone, and the moments that matter."""

from pathlib import Path

from playwright.async_api import Browser, Locator, Page, expect
from tests.acceptance.conftest import Bench
from tests.browser.conftest import DESK, PHONE, Scene, View, playing, viewing

PICTURE_BYTES_MAX = 300_000


async def take(folder: Path, name: str, of: Page | Locator) -> None:
    """Take a picture that a page of the documentation can carry."""
    path = folder / f"dashboard-{name}.png"
    await of.screenshot(path=path, animations="disabled")
    assert path.stat().st_size < PICTURE_BYTES_MAX


async def a_morning(scene: Scene) -> int:
    """Have two bots hold something, and an entry rest; return where MES stood before."""
    market, nasdaq = await scene.last_price("MES", 5), await scene.last_price("MNQ", 2)
    for bot in ("alpha", "gamma"):
        await scene.guard.ask("PUT", f"/v1/bots/{bot}", {"heartbeat_timeout_ms": 600_000})
    for number, (bot, symbol, side, at, point) in enumerate(
        (
            ("alpha", "MES", "BUY", market, 1),
            ("gamma", "MNQ", "SELL", nasdaq, -4),
            ("alpha", "MES", "BUY", market, 1),
        )
    ):
        await scene.order(
            client_order_id=f"{bot}-{number + 17}",
            strategy_id=bot,
            symbol=symbol,
            side=side,
            quantity=number + 1,
            type="MARKET",
            stop_loss_price=str(at - (12 + number) * point),
            take_profit_price=str(at + (24 + number) * point),
        )
    await scene.order(
        client_order_id="alpha-20",
        strategy_id="alpha",
        symbol="MES",
        side="BUY",
        quantity=1,
        type="LIMIT",
        limit_price=str(market - 8),
        stop_loss_price=str(market - 20),
    )
    await scene.guard.until(
        "/v1/positions",
        lambda it: {row["quantity"] for row in it["positions"] if row["stop"]} == {4, -2},
    )
    return market


async def shown(view: View, scene: Scene) -> None:
    """Wait until everything that is read in turns has been read."""
    await view.open(scene.url)
    await expect(view.locate("#positions tbody tr")).to_have_count(2)
    await expect(view.locate("#slippage .plot-words")).to_contain_text("3 executions")
    await expect(view.locate("#headroom .bar")).not_to_have_count(0)
    await expect(view.locate("#correlations .heat-cell")).not_to_have_count(0)
    await expect(view.locate("#equity canvas")).to_be_visible()


async def test_a_day_at_a_desk_and_on_a_phone(
    bench: Bench, browser: Browser, pictures: Path
) -> None:
    async with playing(bench) as scene:
        await a_morning(scene)
        for name, size, dark in (
            ("dark", DESK, True),
            ("light", DESK, False),
            ("phone", PHONE, True),
        ):
            async with viewing(browser, size=size, dark=dark) as view:
                await shown(view, scene)
                await expect(view.state).to_have_text("ACTIVE")
                await take(pictures, name, view.page)


async def test_an_order_in_doubt(bench: Bench, browser: Browser, pictures: Path) -> None:
    async with playing(bench) as scene, viewing(browser) as view:
        market = await a_morning(scene)
        await shown(view, scene)
        await scene.mischief(on="Order/place", act="reset_before")
        await scene.order(
            client_order_id="alpha-21",
            symbol="MES",
            side="BUY",
            quantity=1,
            type="LIMIT",
            limit_price=str(market - 10),
            stop_loss_price=str(market - 22),
        )
        await expect(view.locate("#orders .unknown")).to_contain_text("alpha-21")
        await take(pictures, "unknown", view.locate("#orders"))


async def test_a_liquidation_and_a_lost_guard(
    bench: Bench, browser: Browser, pictures: Path
) -> None:
    async with playing(bench) as scene, viewing(browser) as view:
        await a_morning(scene)
        await shown(view, scene)
        await scene.mischief(
            on="Position/closeContract",
            act="error_code",
            code=2,
            message="not now",
            contract="MNQ",
            count=4,
        )
        await view.locate("#operator").fill("Ann")
        await view.locate("#reason").fill("the news")
        run = view.locate(".liquidation")
        await view.hold("#liquidate", until=run, text="MNQ")
        await take(pictures, "liquidation", view.page)
        await expect(run).to_have_attribute("data-state", "FLAT")
        await expect(view.locate("#positions")).to_contain_text("No position.")

        await scene.guard.kill()
        await expect(view.state).to_have_text("DISCONNECTED")
        await take(pictures, "disconnected", view.page)
