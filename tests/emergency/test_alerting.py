"""Alerts of a liquidation without a guard: a real courier and real sockets, beside the path."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from backstop.config.secret import Secret
from backstop.domain.commands import RaiseAlert, Severity
from backstop.emergency.alerting import LETTERS_MAX, AlertPost

PATIENCE_S = 60.0


def an_alert(code: str = "LIQUIDATION_BEGUN") -> RaiseAlert:
    return RaiseAlert(
        severity=Severity.CRITICAL, code=code, message=f"what is to be said of {code}"
    )


def a_post(say: Callable[[str], None], *urls: str) -> AlertPost:
    return AlertPost([Secret(url) for url in urls], account_id=7, say=say)


@asynccontextmanager
async def a_service(*, status: int = 200) -> AsyncIterator[tuple[str, list[Any]]]:
    """Run a service that takes alerts, or refuses them; yields its address and what it heard."""
    heard: list[Any] = []

    async def take(request: web.Request) -> web.Response:
        heard.append(await request.json())
        return web.Response(status=status)

    app = web.Application()
    app.router.add_post("/alerts", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"json://127.0.0.1:{runner.addresses[0][1]}/alerts?secret=hush", heard
    finally:
        await runner.cleanup()


async def test_what_was_put_is_delivered_by_the_end() -> None:
    said: list[str] = []
    async with a_service() as (url, heard):
        post = a_post(said.append, url)
        post.start()
        post.put(an_alert())
        post.put(an_alert("LIQUIDATION_FLAT"))
        await post.end(limit_s=PATIENCE_S)

    titles = sorted(letter["title"] for letter in heard)
    assert titles == [f"Backstop 7: CRITICAL LIQUIDATION_{how}" for how in ("BEGUN", "FLAT")]
    assert said == []


async def test_an_address_that_nobody_answers_at_is_named_without_its_secret() -> None:
    said: list[str] = []
    async with a_service() as (url, _):
        pass  # gone again: nobody listens there
    post = a_post(said.append, url)
    post.start()
    post.put(an_alert())
    await post.end(limit_s=PATIENCE_S)

    assert any("channel 1 (json)" in line for line in said), said
    assert "backstop alerts test" in said[-1]
    assert "hush" not in "".join(said)


async def test_a_second_channel_is_enough() -> None:
    said: list[str] = []
    async with a_service(status=500) as (broken, _), a_service() as (works, heard):
        post = a_post(said.append, broken, works)
        post.start()
        post.put(an_alert())
        await post.end(limit_s=PATIENCE_S)

    assert len(heard) == 1
    assert [line for line in said if "Nobody was told" in line] == []
    assert any("channel 1 (json)" in line for line in said)


async def test_a_service_that_hangs_is_not_waited_for() -> None:
    """No time at all: what is not delivered by then is said, and the courier is ended."""
    said: list[str] = []
    async with a_service() as (url, _):
        post = a_post(said.append, url)
        post.start()
        post.put(an_alert())
        await post.end(limit_s=0)

    assert any("no end within 0 s" in line for line in said)


async def test_without_an_address_nothing_is_started_or_said() -> None:
    said: list[str] = []
    post = a_post(said.append)
    post.start()
    post.put(an_alert())
    await post.end(limit_s=PATIENCE_S)

    assert said == []


async def test_a_flood_is_bounded() -> None:
    async with a_service() as (url, heard):
        post = a_post(lambda _: None, url)
        post.start()
        for _ in range(3 * LETTERS_MAX):
            post.put(an_alert())
        await post.end(limit_s=PATIENCE_S)

    assert len(heard) == LETTERS_MAX
