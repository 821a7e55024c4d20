"""A real Chromium in front of a real guard and a simulated gateway, each a process of its own."""

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Browser, BrowserContext, Locator, Page, async_playwright, expect
from tests.acceptance.conftest import TOKEN, Bench, RunningGuard

from backstop.simulator.contracts import listings
from backstop.simulator.sessions import trade_date

PATIENCE_MS = 30_000
"""For whatever must show; nothing waits this long when all is well."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SETTING = "BACKSTOP_CHROMIUM"
SCREENSHOTS = Path(__file__).parents[2] / "docs" / "assets"

DESK = {"width": 1440, "height": 1000}
PHONE = {"width": 390, "height": 844}

SENDING = {"DRY_RUN": "0", "EXECUTE": "1"}

expect.set_options(timeout=PATIENCE_MS)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--screenshots", action="store_true", help=f"write the pictures of {SCREENSHOTS.name} anew"
    )


@pytest.fixture(scope="session")
def chromium() -> str:
    """Return the program; a machine without one cannot say anything about the page."""
    found = os.environ.get(SETTING) or next(filter(None, map(shutil.which, BROWSERS)), None)
    assert found, f"no Chromium found: install one, or name it in {SETTING}"
    return found


@pytest.fixture
def pictures(pytestconfig: pytest.Config, tmp_path: Path) -> Path:
    """Return the folder for pictures: that of the pages when they are wanted anew."""
    if not pytestconfig.getoption("--screenshots"):
        return tmp_path
    SCREENSHOTS.mkdir(exist_ok=True)
    return SCREENSHOTS


@dataclass
class View:
    """One open page, and everything that it asked for and complained about."""

    page: Page
    token: str = TOKEN
    asked: list[tuple[str, str]] = field(default_factory=list)  # method and address
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        page = self.page
        page.on("request", lambda it: self.asked.append((it.method, it.url)))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._hear)

    def _hear(self, message: Any) -> None:
        # A call that nobody answers is told as an error too; what the page makes of it is tested.
        if message.type in {"error", "warning"} and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    async def open(self, url: str) -> None:
        """Open the address that a guard prints."""
        await self.page.goto(f"{url}/#token={self.token}")

    def locate(self, selector: str, **options: Any) -> Locator:
        return self.page.locator(selector, **options)

    @property
    def state(self) -> Locator:
        return self.locate("#state")

    @property
    def wishes(self) -> list[str]:
        """Return the addresses of every call that was to change something."""
        return [url for method, url in self.asked if method != "GET"]

    async def hold(self, selector: str, until: Locator, text: str) -> None:
        """Press a button and keep it pressed until the page shows what comes of it."""
        await self.locate(selector).hover()
        await self.page.mouse.down()
        await expect(until).to_contain_text(text)
        await self.page.mouse.up()


@pytest.fixture
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with async_playwright() as driver:
        # As root, in a container, the sandbox of the browser cannot be had.
        plain = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        program = await driver.chromium.launch(executable_path=chromium, args=plain)
        yield program
        await program.close()


@asynccontextmanager
async def viewing(
    browser: Browser, *, size: dict[str, int] = DESK, dark: bool = True, **options: Any
) -> AsyncIterator[View]:
    context: BrowserContext = await browser.new_context(
        viewport={"width": size["width"], "height": size["height"]},
        color_scheme="dark" if dark else "light",
        **options,
    )
    context.set_default_timeout(PATIENCE_MS)
    try:
        yield View(page=await context.new_page())
    finally:
        await context.close()


@pytest.fixture
async def view(browser: Browser) -> AsyncIterator[View]:
    """Give a page on a desk; whatever it was taken through, it may not have complained."""
    async with viewing(browser) as it:
        yield it
    assert it.complaints == []


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with aiohttp.ClientSession() as session:
        yield Bench(folder=tmp_path, session=session)


@dataclass
class Scene:
    """A guard at a simulated gateway, and what a bot does with it."""

    bench: Bench
    guard: RunningGuard
    venue_url: str

    @property
    def url(self) -> str:
        return self.guard.url

    async def order(self, **wish: Any) -> dict[str, Any]:
        """Send an order until it is taken: a busy machine may have no fresh reading just now."""
        async with asyncio.timeout(PATIENCE_MS / 1000):
            while True:
                status, record = await self.guard.ask("POST", "/v1/orders", wish)
                codes = {it["code"] for it in record.get("denials", ())}
                if not codes or codes - {"STATE_REDUCING", "STALE_REFERENCE", "STALE_ACCOUNT"}:
                    break
                await asyncio.sleep(0.05)
        assert status == 201, record
        return dict(record)

    async def last_price(self, symbol: str, point_value: int) -> int:
        """Return the market in whole points: what a stop at 100 would lose tells it."""
        wish = {"symbol": symbol, "side": "BUY", "quantity": 1, "type": "MARKET"}
        _, said = await self.guard.ask(
            "POST", "/v1/orders/validate", {**wish, "stop_loss_price": "100"}
        )
        (loss,) = (it["value"] for it in said["denials"] if it["code"] == "DAILY_LOSS_BUFFER")
        return round(float(loss) / point_value) + 100

    async def entry(self, name: str = "alpha-1", quantity: int = 2) -> dict[str, Any]:
        """Buy MES with stop and target, and wait until it is held."""
        market = await self.last_price("MES", 5)
        await self.order(
            client_order_id=name,
            symbol="MES",
            side="BUY",
            quantity=quantity,
            type="MARKET",
            stop_loss_price=str(market - 20),
            take_profit_price=str(market + 40),
        )
        levels = {"stop": str(market - 20), "target": str(market + 40)}

        def stands(said: Any) -> bool:
            # The venue lays the legs from the fill; they count once they are where they were asked.
            return any(
                row["quantity"] == quantity
                and all((row[it] or {}).get("price") == levels[it] for it in levels)
                for row in said["positions"]
            )

        said = await self.guard.until("/v1/positions", stands)
        return dict(said["positions"][0])

    async def by_hand(self, symbol: str, quantity: int) -> None:
        """Have somebody else buy: nobody laid a stop for it."""
        today = trade_date((await self.truth())["nowUs"])
        _, status = await self.guard.ask("GET", "/v1/status")
        order = {
            "account_id": status["account_id"],
            "contract_id": next(
                it.active.id for it in listings(today) if f".{symbol}." in it.active.id
            ),
            "type": 2,
            "side": 0,
            "size": quantity,
        }
        async with self.bench.session.post(
            f"{self.venue_url}/_simulator/manual-order", json=order
        ) as answer:
            assert answer.status < 300, await answer.text()

    async def mischief(self, **rule: Any) -> None:
        """Have the gateway do something wrong."""
        async with self.bench.session.post(
            f"{self.venue_url}/_simulator/faults", json=rule
        ) as answer:
            assert answer.status < 300, await answer.text()

    async def truth(self) -> Any:
        async with self.bench.session.get(f"{self.venue_url}/_simulator/truth") as answer:
            return await answer.json()


@asynccontextmanager
async def playing(bench: Bench, **settings: str) -> AsyncIterator[Scene]:
    """Run a gateway and a guard in front of it that may take entries."""
    chosen = {"BACKSTOP_PROFILE": "topstep-150k", **SENDING, **settings}
    async with bench.venue() as venue, bench.guard(**chosen) as guard:
        await guard.active()
        yield Scene(bench=bench, guard=guard, venue_url=venue.url)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
