"""Alerts leave through a courier of their own, to real receivers on this machine."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from backstop.adapters import alert_courier
from backstop.adapters.alert_courier import AlertCourier, Delivery, Letter
from backstop.adapters.clock import SystemClock
from backstop.adapters.stop_signals import STOP_SIGNALS
from backstop.app import alert_desk
from backstop.app.alert_desk import LETTERS_WAITING_MAX, AlertDesk
from backstop.config.secret import Secret
from backstop.domain.commands import RaiseAlert, Severity
from backstop.entrypoints.courier import DELIVERIES_AT_ONCE
from backstop.errors import AlertCourierError

PATIENCE_S = 30


@dataclass
class Receiver:
    """A service that takes alerts as JSON; ``refuses`` answers with an error instead.

    ``taken`` is where it listens; any free port if None.
    """

    refuses: bool = False
    asked: int = 0
    answers: asyncio.Event | None = None  # until then nobody is answered
    took: list[Any] = field(default_factory=list)
    port: int = 0
    taken: socket.socket | None = None

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.port}/alerts"

    async def take(self, request: web.Request) -> web.Response:
        if self.refuses:
            return web.Response(status=503)
        self.asked += 1
        if self.answers is not None:
            await self.answers.wait()
        self.took.append(await request.json())
        return web.Response()

    def said(self) -> list[str]:
        """Return the first line of every letter; the second says where to read what to do."""
        return [letter["message"].splitlines()[0] for letter in self.took]


@asynccontextmanager
async def receiving(**changes: Any) -> AsyncIterator[Receiver]:
    receiver = Receiver(**changes)
    app = web.Application()
    app.router.add_post("/alerts", receiver.take)
    runner = web.AppRunner(app)
    await runner.setup()
    taken = receiver.taken
    site: web.BaseSite = web.TCPSite(runner, "127.0.0.1", 0)
    if taken is not None:
        site = web.SockSite(runner, taken)
    await site.start()
    receiver.port = runner.addresses[0][1]
    try:
        yield receiver
    finally:
        await runner.cleanup()


@asynccontextmanager
async def a_running_desk(*urls: str, **changes: Any) -> AsyncIterator[tuple[AlertDesk, list[str]]]:
    faults: list[str] = []
    desk = AlertDesk(
        urls=[Secret(url) for url in urls],
        account="42",
        clock=SystemClock(),
        on_fault=faults.append,
        **changes,
    )
    task = asyncio.create_task(desk.run())
    try:
        yield desk, faults
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not is_true():  # noqa: ASYNC110 - what is waited for is in another process
            await asyncio.sleep(0.01)


def an_alert(**changes: Any) -> RaiseAlert:
    members: dict[str, Any] = {
        "alert_id": 7,
        "severity": Severity.CRITICAL,
        "code": "OVERFILL",
        "message": "4 of 3 were filled",
    }
    return RaiseAlert(**(members | changes))


async def test_a_critical_alert_goes_to_every_channel() -> None:
    async with (
        receiving() as first,
        receiving() as second,
        a_running_desk(first.url, second.url) as (desk, _),
    ):
        desk.put(an_alert())
        await until(lambda: bool(first.took and second.took))

        assert first.took[0]["title"] == "Backstop 42: CRITICAL OVERFILL"
        assert first.took[0]["message"].splitlines() == [
            "4 of 3 were filled",
            "What to do: docs/runbook/OVERFILL.md",
        ]
        await until(lambda: len(desk.deliveries.get(7, ())) == 2)
        assert all(it.delivered and it.service == "json" for it in desk.deliveries[7])


async def test_a_warning_goes_to_the_second_channel_when_the_first_does_not_take_it() -> None:
    async with (
        receiving(refuses=True) as first,
        receiving() as second,
        a_running_desk(first.url, second.url) as (desk, faults),
    ):
        desk.put(an_alert(severity=Severity.WARNING))
        await until(lambda: bool(second.took))
        await until(lambda: len(desk.deliveries.get(7, ())) == 2)

        assert {(it.channel, it.delivered) for it in desk.deliveries[7]} == {(1, False), (2, True)}
        assert any("channel 1" in fault for fault in faults)


async def test_a_warning_that_the_first_channel_took_goes_no_further() -> None:
    async with (
        receiving() as first,
        receiving() as second,
        a_running_desk(first.url, second.url) as (desk, _),
    ):
        desk.put(an_alert(severity=Severity.WARNING))
        desk.put(an_alert(alert_id=8, code="OTHER"))
        await until(lambda: bool(second.took))
        await until(lambda: len(desk.deliveries) == 2)

        assert [letter["title"] for letter in second.took] == ["Backstop 42: CRITICAL OTHER"]


async def test_an_address_that_is_none_is_named_by_its_place_and_not_shown() -> None:
    async with (
        receiving() as first,
        a_running_desk(first.url, "nosuch://s3cr3t-token") as (
            desk,
            faults,
        ),
    ):
        await until(lambda: any("channel 2" in fault for fault in faults))
        desk.put(an_alert())
        await until(lambda: bool(first.took))

        assert not any("s3cr3t" in fault for fault in faults)


async def test_a_channel_that_does_not_answer_is_told_before_there_is_an_alert() -> None:
    unreached: list[tuple[int, str, str]] = []
    async with (
        receiving() as first,
        a_running_desk(
            first.url,
            "json://127.0.0.1:1/s3cr3t-token",
            on_unreached=lambda *said: unreached.append(said),
        ) as (desk, faults),
    ):
        await until(lambda: bool(unreached))

        assert unreached == [(2, "json", "Connection refused")]
        (words,) = desk.unreached
        assert "channel 2 (json) cannot be reached: Connection refused" in words
        assert not any("channel" in fault for fault in faults), "no alert was missed"
        assert first.took == [], "nobody is sent anything to find out"


async def test_that_the_only_channel_is_dead_is_not_sent_to_it() -> None:
    async with a_running_desk("json://127.0.0.1:1/") as (desk, faults):
        await until(lambda: bool(desk.unreached))
        desk.put(an_alert(code="ALERT_CHANNEL_UNREACHED", severity=Severity.WARNING))
        desk.put(an_alert(alert_id=8))
        await until(lambda: bool(desk.deliveries))

        assert list(desk.deliveries) == [8]
        assert any("channel 1" in fault for fault in faults), "now an alert was missed"


async def test_a_channel_that_takes_an_alert_is_reached() -> None:
    unreached: list[int] = []
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))  # ours, and nobody listens yet
    async with a_running_desk(
        f"json://127.0.0.1:{taken.getsockname()[1]}/alerts",
        on_unreached=lambda number, *_: unreached.append(number),
    ) as (desk, _):
        await until(lambda: bool(desk.unreached))
        async with receiving(taken=taken) as first:
            desk.put(an_alert())
            await until(lambda: bool(first.took))
            await until(lambda: not desk.unreached)

    assert unreached == [1]


async def test_a_courier_that_dies_is_started_again_and_loses_nothing_that_waits() -> None:
    async with receiving() as first, a_running_desk(first.url) as (desk, faults):
        await _with_its_courier_down(desk, first, faults)
        desk.put(an_alert(alert_id=8, code="LATER"))
        await until(lambda: len(first.took) == 2)

        assert first.took[1]["title"].endswith("LATER")


async def _with_its_courier_down(desk: AlertDesk, receiver: Receiver, faults: list[str]) -> None:
    """Have a first alert delivered, then kill who delivers."""
    desk.put(an_alert())
    await until(lambda: bool(receiver.took))
    (deliveries,) = [it for it in asyncio.all_tasks() if it.get_name() == "alert deliveries"]
    courier: AlertCourier = deliveries.get_stack()[0].f_locals["courier"]
    courier._process.kill()
    await until(lambda: any("courier is down" in fault for fault in faults))


async def test_a_flood_of_one_code_becomes_one_letter_that_counts(monkeypatch: Any) -> None:
    monkeypatch.setattr(alert_desk, "GATHER_NS", 500_000_000)
    async with receiving() as first, a_running_desk(first.url) as (desk, _):
        for number in range(50):
            desk.put(an_alert(alert_id=number + 1, message=f"number {number}"))
        await until(lambda: len(first.took) == 2)

        # Whichever comes first.
        assert set(first.said()) == {
            "number 0",
            "49 more of these; the newest of the most severe: number 49",
        }


async def test_a_letter_of_many_carries_the_most_severe_of_them(monkeypatch: Any) -> None:
    monkeypatch.setattr(alert_desk, "GATHER_NS", 500_000_000)
    async with receiving() as first, a_running_desk(first.url) as (desk, _):
        desk.put(an_alert(alert_id=1, message="the first"))
        desk.put(an_alert(alert_id=2, message="a second position as well"))
        for number in range(3, 6):
            desk.put(an_alert(alert_id=number, severity=Severity.INFO, message="over"))
        await until(lambda: len(first.took) == 2)

        said = dict(zip(first.said(), first.took, strict=True))
        (of_many,) = said.keys() - {"the first"}
        assert said[of_many]["title"] == "Backstop 42: CRITICAL OVERFILL"
        assert of_many.endswith("most severe: a second position as well")


async def test_a_critical_alert_does_not_wait_behind_milder_ones_of_its_code() -> None:
    async with receiving() as first, a_running_desk(first.url) as (desk, _):
        desk.put(an_alert(alert_id=1, severity=Severity.WARNING, message="it may be so"))
        desk.put(an_alert(alert_id=2, severity=Severity.WARNING, message="it may be so again"))
        desk.put(an_alert(alert_id=3, message="it is so"))
        await until(lambda: len(first.took) == 2)

        # Letters are on their way at the same time, and either may arrive first.
        assert set(first.said()) == {"it may be so", "it is so"}
        assert desk._gathered["OVERFILL"].count == 1, "only the repeat waits"


async def test_what_waits_is_bounded_and_critical_alerts_go_last() -> None:
    desk = AlertDesk(
        urls=[Secret("json://127.0.0.1:9/")],
        account="42",
        clock=SystemClock(),
        on_fault=lambda _: None,
    )
    desk.put(an_alert(alert_id=1))
    for number in range(LETTERS_WAITING_MAX + 10):
        desk.put(an_alert(alert_id=number + 2, severity=Severity.WARNING, code=f"C{number}"))

    assert desk.dropped == 11
    assert next(iter(desk._waiting.values())).alert_id == 1


async def test_without_an_address_nothing_is_kept_or_started() -> None:
    async with a_running_desk() as (desk, faults):
        desk.put(an_alert())

        assert desk.channels == 0
        assert faults == []


async def test_a_secret_in_a_message_is_struck_out() -> None:
    async with (
        receiving() as first,
        a_running_desk(first.url, redact=lambda text: text.replace("hunter2", "**")) as (desk, _),
    ):
        desk.put(an_alert(message="login with hunter2 failed"))
        await until(lambda: bool(first.took))

        assert first.said()[0] == "login with ** failed"


async def test_what_a_slow_service_keeps_waiting_is_delivered_after_the_end_of_the_desk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(alert_courier, "CLOSE_LIMIT_S", PATIENCE_S)
    answers = asyncio.Event()
    async with receiving(answers=answers) as first:
        async with a_running_desk(first.url) as (desk, faults):
            for number in range(DELIVERIES_AT_ONCE + 1):
                desk.put(an_alert(alert_id=number + 1, code=f"C{number}"))
            desk.put(an_alert(alert_id=99, code="C0", message="again"))  # it waits for others
            await until(lambda: first.asked == DELIVERIES_AT_ONCE)
        answers.set()
        await until(lambda: len(first.took) == DELIVERIES_AT_ONCE + 2)

    assert not any("not sent" in fault for fault in faults)


async def test_what_no_courier_was_given_before_the_end_is_named() -> None:
    async with receiving() as first, a_running_desk(first.url) as (desk, faults):
        await _with_its_courier_down(desk, first, faults)
        desk.put(an_alert(alert_id=8, code="LATER"))

    assert faults[-1] == "1 not sent before the stop: Backstop 42: CRITICAL LATER"


async def test_what_was_gathered_for_a_courier_that_is_down_is_named_too() -> None:
    async with receiving() as first, a_running_desk(first.url) as (desk, faults):
        await _with_its_courier_down(desk, first, faults)
        desk.put(an_alert(alert_id=8))

    assert faults[-1] == "1 not sent before the stop: Backstop 42: CRITICAL OVERFILL"


async def test_a_name_that_no_encoding_has_keeps_no_alert_back() -> None:
    async with receiving() as first, a_running_desk(first.url) as (desk, _):
        desk.put(an_alert(code="FOLDER", message="the folder \udcff is open"))
        desk.put(an_alert(alert_id=8))
        await until(lambda: len(first.took) == 2)

        assert "the folder ? is open" in first.said()


async def test_a_courier_that_takes_nothing_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alert_courier, "TAKE_LIMIT_S", 0.05)
    async with receiving() as first, AlertCourier.start([first.url]) as courier:
        courier._process.send_signal(signal.SIGSTOP)
        more_than_a_pipe_holds = Letter(
            alert_id=7, severity=Severity.CRITICAL, title="-", body="-" * 2**20
        )
        with pytest.raises(AlertCourierError, match="took nothing"):
            await courier.send(more_than_a_pipe_holds)

        async with asyncio.timeout(PATIENCE_S):
            await courier._ended.wait()


async def test_a_courier_that_was_left_ends_by_itself_and_names_what_nobody_took(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(alert_courier, "CLOSE_LIMIT_S", 0.05)
    answers = asyncio.Event()
    async with receiving(answers=answers) as first:
        courier = AlertCourier.start([first.url])
        last = Letter(alert_id=7, severity=Severity.CRITICAL, title="the last word", body="-")
        await courier.send(last)
        await until(lambda: first.asked == 1)
        assert await courier.leave()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.to_thread(courier._process.wait)
        answers.set()

    (said,) = [line for line in capfd.readouterr().err.splitlines() if "not_delivered" in line]
    assert json.loads(said)["titles"] == ["the last word"]


TALKATIVE = """
import os
from apprise.decorators import notify

@notify(on="talker")
def talk(body, title, notify_type, *args, **kwargs):
    print("a word of a library")
    os.write(1, b"and one of a program that it started\\n")
    return True
"""


async def test_a_service_that_prints_says_nothing_of_deliveries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sitecustomize.py").write_text(TALKATIVE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    async with AlertCourier.start(["talker://"]) as courier:
        for number in (1, 2):
            await courier.send(
                Letter(alert_id=number, severity=Severity.CRITICAL, title="a word", body="-")
            )
        courier.finish()
        async with asyncio.timeout(PATIENCE_S):
            results = [it async for it in courier.deliveries()]

    assert sorted(it.alert_id for it in results if it.delivered) == [1, 2]
    said = capfd.readouterr().err
    assert "a word of a library" in said
    assert "a program that it started" in said


async def test_a_courier_that_says_what_is_no_delivery_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "talkative.py").write_text("print('hello')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(alert_courier, "COURIER_MODULE", "talkative")
    async with a_running_desk("json://127.0.0.1:1/") as (_, faults):
        await until(lambda: any("what is no delivery" in fault for fault in faults))


@pytest.mark.parametrize("number", STOP_SIGNALS)
async def test_a_stop_that_a_whole_group_is_told_loses_no_alert(number: int) -> None:
    """A terminal and a service manager tell all processes; last words come after that."""
    async with receiving() as first, AlertCourier.start([first.url]) as courier:
        courier._process.send_signal(number)
        await courier.send(
            Letter(alert_id=7, severity=Severity.CRITICAL, title="the last word", body="-")
        )
        async with asyncio.timeout(PATIENCE_S):
            delivery = await anext(courier.deliveries())
        courier._process.send_signal(number)
        courier.finish()
        async with asyncio.timeout(PATIENCE_S):
            code = await asyncio.to_thread(courier._process.wait)

    assert (delivery.delivered, code) == (True, 0)
    assert [it["title"] for it in first.took] == ["the last word"]


async def test_the_courier_ends_when_nothing_more_is_to_come() -> None:
    async with receiving() as first:
        results: list[Delivery] = []
        async with AlertCourier.start([first.url]) as courier:
            courier.finish()
            async with asyncio.timeout(PATIENCE_S):
                results.extend([it async for it in courier.deliveries()])

        assert results == []
