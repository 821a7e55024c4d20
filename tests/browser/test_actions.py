"""What a person does on the page: nothing by a click, everything by holding on."""

from playwright.async_api import expect
from tests.acceptance.conftest import Bench
from tests.browser.conftest import View, playing

A_CLICK_AROUND_A_STANDSTILL = """(button) => {
  const tell = (kind) =>
    button.dispatchEvent(new PointerEvent(kind, { bubbles: true, button: 0, isPrimary: true }));
  tell("pointerdown");
  const from = performance.now();
  while (performance.now() - from < 2_000);
  setTimeout(() => tell("pointerup"), 50);
}"""
"""The page hears that the button was let go after it had stood still for longer than a hold."""


async def test_a_click_halts_nothing_and_holding_on_does(bench: Bench, view: View) -> None:
    async with playing(bench) as scene:
        await view.open(scene.url)
        await expect(view.state).to_have_text("ACTIVE")
        halt = view.locate("#halt")

        await halt.click()
        await expect(halt).to_contain_text("let go too early")
        await halt.dblclick()
        await halt.hover()
        await view.page.mouse.down()
        await expect(halt).to_contain_text("keep holding")
        await view.locate("#positions").hover()
        await expect(halt).to_contain_text("let go too early")
        await view.page.mouse.up()
        assert view.wishes == []

        await view.locate("#operator").fill("Ann")
        await view.locate("#reason").fill("the news")
        await view.hold("#halt", until=view.state, text="HALTED")
        await expect(view.locate("#reasons")).to_contain_text("the news")
        await expect(view.locate("#reasons")).to_contain_text("Ann")
        _, said = await scene.guard.ask("GET", "/v1/status")

    assert view.wishes == [f"{scene.url}/v1/halt"]
    assert said["trading_state"] == "HALTED"
    (latch,) = said["latches"]
    assert (latch["operator"], latch["cause"]) == ("Ann", "the news")


async def test_a_halt_needs_no_words_and_a_resume_takes_both(bench: Bench, view: View) -> None:
    async with playing(bench) as scene:
        await view.open(scene.url)
        await expect(view.state).to_have_text("ACTIVE")
        await view.hold("#halt", until=view.state, text="HALTED")

        resume = view.locate("#resume")
        await expect(resume).to_contain_text("takes name and reason")
        await resume.click(force=True)  # it is disabled, and a person may press it all the same
        await view.locate("#operator").fill("Ann")
        await expect(resume).to_contain_text("takes name and reason")
        await view.locate("#reason").fill("it is over")
        await expect(resume).to_contain_text("hold to let entries pass")
        await view.hold("#resume", until=view.state, text="ACTIVE")
        await expect(resume).to_have_count(0)

    assert view.wishes == [f"{scene.url}/v1/halt", f"{scene.url}/v1/resume"]


async def test_a_page_that_stood_still_takes_no_click_for_holding_on(
    bench: Bench, view: View
) -> None:
    async with playing(bench) as scene:
        await view.open(scene.url)
        await expect(view.state).to_have_text("ACTIVE")
        halt = view.locate("#halt")

        await halt.evaluate(A_CLICK_AROUND_A_STANDSTILL)

        await expect(halt).to_contain_text("let go too early")
        assert view.wishes == []


async def test_a_key_that_is_held_halts_and_one_that_is_pressed_does_not(
    bench: Bench, view: View
) -> None:
    async with playing(bench) as scene:
        await view.open(scene.url)
        await expect(view.state).to_have_text("ACTIVE")
        keyboard = view.page.keyboard

        await keyboard.press("h")
        await keyboard.press("Space")
        await expect(view.locate("#halt")).to_contain_text("let go too early")
        await keyboard.press("Enter")
        await keyboard.down("Space")
        await expect(view.locate("#halt")).to_contain_text("keep holding")
        await keyboard.press("Tab")
        await expect(view.locate("#halt")).to_contain_text("let go too early")
        await keyboard.up("Space")
        assert view.wishes == []

        await keyboard.press("h")
        await keyboard.down("Space")
        await expect(view.state).to_have_text("HALTED")
        await keyboard.up("Space")

    assert view.wishes == [f"{scene.url}/v1/halt"]


async def test_a_liquidation_from_the_page_is_followed_until_it_is_proven_flat(
    bench: Bench, view: View
) -> None:
    async with playing(bench) as scene:
        await view.open(scene.url)
        await scene.entry()
        await expect(view.locate("#positions")).to_contain_text("LONG 2 MES")
        await view.locate("#operator").fill("Ann")
        await view.locate("#reason").fill("enough for today")

        run = view.locate(".liquidation")
        await view.hold("#liquidate", until=run, text="of the account")
        await expect(run).to_contain_text("enough for today (Ann)")
        await expect(run).to_have_attribute("data-state", "FLAT")
        await expect(run).to_contain_text("two fresh reads showed nothing left")
        await expect(view.state).to_have_text("HALTED")
        await expect(view.locate("#positions")).to_contain_text("No position.")
        await expect(view.locate("#orders")).to_contain_text("No working order.")
        truth = await scene.truth()
        _, said = await scene.guard.ask("GET", "/v1/liquidations")

        await run.get_by_role("button", name="dismiss").click()
        await expect(run).to_have_count(0)

    assert view.wishes == [f"{scene.url}/v1/liquidate"]
    (known,) = said["liquidations"]
    assert (known["state"], known["causes"]) == ("FLAT", ["enough for today"])
    assert truth["positions"] == []
    assert {it["status"] for it in truth["orders"]} <= {"FILLED", "CANCELLED"}


async def test_a_liquidation_that_is_held_up_shows_what_is_left_and_goes_on(
    bench: Bench, view: View
) -> None:
    async with playing(bench) as scene:
        await view.open(scene.url)
        await scene.entry()
        refused = {"on": "Position/closeContract", "act": "error_code", "code": 2}
        await scene.mischief(**refused, message="not now", count=3)

        run = view.locate(".liquidation")
        await view.hold("#liquidate", until=run, text="POSITION 2 MES")
        await expect(run).to_have_attribute("data-state", "FLAT")
        truth = await scene.truth()

    assert truth["positions"] == []


async def test_one_contract_alone_is_taken_flat(bench: Bench, view: View) -> None:
    async with playing(bench) as scene:
        await view.open(scene.url)
        await scene.entry()
        await view.locate("#scope").select_option("MES")
        await expect(view.locate("#liquidate")).to_contain_text("LIQUIDATE MES")
        await view.hold("#liquidate", until=view.locate(".liquidation"), text="MES")
        await expect(view.locate(".liquidation")).to_have_attribute("data-state", "FLAT")
        # The other contracts may be traded, so the account is not halted.
        await expect(view.locate("#reasons")).to_contain_text("MES")
        _, said = await scene.guard.ask("GET", "/v1/liquidations")

    assert [it["symbol"] for it in said["liquidations"]] == ["MES"]


async def test_in_dry_run_the_page_says_first_that_nothing_was_sent(
    bench: Bench, view: View
) -> None:
    async with playing(bench, DRY_RUN="1") as scene:
        await view.open(scene.url)
        await expect(view.locate("#gate")).to_contain_text("NOTHING IS SENT")
        await expect(view.locate("#liquidate")).to_contain_text("dry run: sends nothing")
        run = view.locate(".liquidation")
        await view.hold("#liquidate", until=run, text="NOT SENT")
        await expect(run).to_contain_text("nothing was sent")
        truth = await scene.truth()

    assert truth["orders"] == []


async def test_a_wish_that_nobody_answers_is_not_taken_for_refused(
    bench: Bench, view: View
) -> None:
    async with playing(bench) as scene:
        await view.open(scene.url)
        await expect(view.state).to_have_text("ACTIVE")
        await scene.guard.kill()
        await expect(view.state).to_have_text("DISCONNECTED")
        await view.hold("#halt", until=view.locate(".outcome"), text="may have arrived or not")
        await expect(view.locate(".outcome")).to_contain_text("backstop halt")
