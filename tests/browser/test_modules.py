"""What the page reckons: exact text stays exact, and the past is put in its place."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Browser, Page, Route

from backstop.entrypoints.http.dashboard_files import dashboard_files

ADDRESS = "http://127.0.0.1:9"
"""Nobody listens there: the test hands out the files itself."""


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """Give a page that has the files of the dashboard, and nothing of it running."""
    files = dashboard_files()

    async def hand_out(route: Route) -> None:
        path = route.request.url.removeprefix(ADDRESS)
        file = files.get(path)
        if file is None:
            await route.fulfill(body="", content_type="text/html")
        else:
            await route.fulfill(body=file.content, content_type=file.media_type)

    page = await browser.new_page()
    await page.route("**/*", hand_out)
    await page.goto(f"{ADDRESS}/empty")
    yield page
    await page.close()


async def reckoned(page: Page, module: str, expression: str) -> Any:
    """Return what ``expression`` gives, in which ``it`` is the module."""
    script = f"import('/dashboard/{module}').then((it) => {expression})"
    return await page.evaluate(script)


async def test_numbers_are_cut_into_groups_and_never_changed(page: Page) -> None:
    minus, nothing = "\N{MINUS SIGN}", "\N{EN DASH}"
    wanted = {
        "it.grouped('-1234567.50')": f"{minus}1,234,567.50",
        "it.grouped('999')": "999",
        "it.grouped(null)": nothing,
        "it.price('5989')": "5,989.00",
        "it.price('110.015625')": "110.015625",
        "it.price('-37.63')": f"{minus}37.63",
        "it.price(null)": nothing,
        "it.dollars('-12.5')": f"{minus}$12.50",
        "it.dollars('0')": "$0.00",
        "it.wholeDollars('1999.99')": "$1,999",
        "it.fromMicros(150000000000)": "150000",
        "it.fromMicros(-1250000)": "-1.25",
        "it.fromMicros(1)": "0.000001",
        "it.minus('3000', '2994.34')": "5.66",
        "it.minus('2', '2.5')": "-0.5",
        "it.minus('-1', '-3')": "2",
        "it.minus('9007199254740993.01', '0.02')": "9007199254740992.99",
        "it.signOf('-0.00')": 0,
        "it.signOf('-0.01')": -1,
        "it.duration(950)": "950 ms",
        "it.duration(9400)": "9.4 s",
        "it.duration(59999)": "59 s",
        "it.duration(3725000)": "1 h 2 min",
    }

    said = await reckoned(page, "numbers.js", f"[{', '.join(wanted)}]")

    assert dict(zip(wanted, said, strict=True)) == wanted


async def test_a_token_is_read_from_the_fragment(page: Page) -> None:
    wanted = {
        "#token=abc-_123": "abc-_123",
        "#abc-_123": "abc-_123",
        "#token=a%2Bb%2Fc%3D": "a+b/c=",
        "#token=100%": "100%",
        "#": None,
        "": None,
        "#token=": None,
    }

    said = await reckoned(page, "token.js", f"{list(wanted)}.map(it.fromFragment)")

    assert dict(zip(wanted, said, strict=True)) == wanted


async def test_a_block_of_the_stream_is_read_as_the_standard_says(page: Page) -> None:
    block = "id: 7\\nevent: X\\ndata: {\\ndata: }\\n: alive\\nretry: 5"

    said = await reckoned(page, "event_stream.js", f"it.parsed('{block}')")

    assert said == {"id": 7, "data": "{\n}"}


async def test_the_past_that_comes_late_stands_before_the_present(page: Page) -> None:
    said = await reckoned(
        page,
        "history.js",
        """{
          const past = new it.History();
          const account = (balance, time) => ({
            time,
            record: "event",
            payload: {kind: "AccountReported", account: {balance_micros: balance}},
          });
          past.addAccount(1_000, {equity: "102", balance: "101"});
          past.addRecord(account(100_000_000, "1970-01-01T00:10:00Z"));
          past.addRecord(account(100_000_000, "1970-01-01T00:11:00Z"));
          past.addRecord(account(101_000_000, "1970-01-01T00:12:00Z"));
          past.addRecord(account(101_000_000, "1970-01-01T00:17:00Z"));
          return past.worth.map((at) => [at.t, at.balance, at.equity]);
        }""",
    )

    assert said == [[600, "100", None], [720, "101", None], [1000, "101", "102"]]


async def test_the_past_is_bounded(page: Page) -> None:
    said = await reckoned(
        page,
        "history.js",
        """{
          const past = new it.History();
          for (let at = 0; at < it.POINTS_MAX + 5; at += 1) {
            past.addAccount(at, {equity: String(at), balance: "1"});
          }
          return [past.worth.length - it.POINTS_MAX, past.worth[0].t];
        }""",
    )

    assert said == [0, 5]


async def test_a_record_of_an_unknown_kind_or_shape_is_a_line_all_the_same(page: Page) -> None:
    said = await reckoned(
        page,
        "event_words.js",
        """[
          it.inWords({record: "event", payload: {kind: "NewKind"}}, String),
          it.inWords({record: "event", payload: {kind: "TradeReported"}}, String),
          it.inWords({record: "command", payload: null}, String),
        ].map((words) => words.text)""",
    )

    assert said == ["NewKind", "TradeReported", "command"]


async def test_one_tick_is_one(page: Page) -> None:
    said = await reckoned(
        page,
        "event_words.js",
        """["1", "-1", "1.5"].map((decimal) => it.inWords({
          record: "proof",
          payload: {proof: {
            order: {client_order_id: "entry-1", state: "FILLED"},
            slippage: {ticks: {decimal}},
          }},
        }, String).text)""",
    )

    assert said == [
        f"Proof of entry-1: FILLED, slippage {ticks}"
        for ticks in ("1 tick", "-1 ticks", "1.5 ticks")
    ]


async def test_a_limit_says_what_it_is_about_also_when_nothing_is_held(page: Page) -> None:
    wanted = {
        ("CORRELATION", "ALL"): "moving together",
        ("CORRELATION", "NQ"): "moving with NQ",
        ("ES_NQ_COMBINED", "ALL"): "ES with NQ",
        ("ES_NQ_COMBINED", "NQ"): "NQ with ES",
        ("DIRECTIONAL", "LONG"): "all longs",
        ("GROSS", "ALL"): "gross",
    }

    asked = [{"limit": limit, "subject": subject} for limit, subject in wanted]
    said = await reckoned(page, "words.js", f"{asked}.map(it.limitName)")

    assert dict(zip(wanted, said, strict=True)) == wanted
