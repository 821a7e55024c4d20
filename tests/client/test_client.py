"""The client against a real guard over a real socket: answers, refusals, silence, streams."""

import asyncio
import socket
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
import trustme
from msgspec.structs import replace
from tests.app.desk import Desk, until

from backstop.client import AsyncClient, Client, DeniedError, GuardCallError, GuardSilentError
from backstop.domain.bot import BotState
from backstop.domain.order import OrderType, Side

pytestmark = pytest.mark.asyncio(loop_scope="module")

T = TypeVar("T")


async def in_a_thread(work: Callable[[], T]) -> T:
    """Run a program that is not asyncio beside the guard."""
    return await asyncio.to_thread(work)


async def test_an_order_is_submitted_verified_and_proven(desk: Desk, counter: Any) -> None:
    async with counter.serving(desk) as served:
        request = served.guard.request(quantity=2)
        async with AsyncClient(served.url, token=counter.TOKEN) as client:
            assert (await client.validate(request)).is_approved
            await client.submit(request)
            order = await client.finished(request.client_order_id)
            verification = await client.verify(request.client_order_id)
            proof = await client.proof(request.client_order_id)
            (position,) = await client.positions()
            status = await client.status()

    assert (order.state, order.filled_quantity) == ("FILLED", 2)
    assert sum(fill.quantity for fill in order.fills) == 2
    assert isinstance(order.average_price, Decimal)
    assert verification.verdict in {"VERIFIED", "BREACH"}
    assert proof.startswith(b"{")
    assert (position.symbol, position.quantity) == ("MES", 2)
    assert position.stop is not None
    assert status.trading_state in {"ACTIVE", "REDUCING"}


async def test_an_order_submitted_again_is_the_same_order(desk: Desk, counter: Any) -> None:
    async with counter.serving(desk) as served:
        request = served.guard.request()
        async with AsyncClient(served.url, token=counter.TOKEN) as client:
            first = await client.submit(request)
            again = await client.submit(request)
            with pytest.raises(GuardCallError) as conflict:
                await client.submit(replace(request, quantity=3))

        assert again.broker_order_id == first.broker_order_id
        assert conflict.value.code == "CONFLICT"
        assert len(desk.orders()) == 1


async def test_an_answer_that_is_lost_is_asked_for_again_and_the_order_is_sent_once(
    desk: Desk, counter: Any
) -> None:
    async with counter.serving(desk) as served:
        port = int(served.url.rpartition(":")[2])
        cut: list[int] = []

        async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            """Stand between client and guard; the first answer gets lost after it was made."""
            there, back = await asyncio.open_connection("127.0.0.1", port)
            asked = asyncio.create_task(_copied(reader, back))
            answer = await there.read(65536)
            cut.append(len(answer))
            if len(cut) > 1:
                writer.write(answer)
                await _copied(there, writer)
            asked.cancel()
            writer.close()
            back.close()

        async with await asyncio.start_server(pass_on, "127.0.0.1", 0) as relay:
            between = f"http://127.0.0.1:{relay.sockets[0].getsockname()[1]}"
            async with AsyncClient(between, token=counter.TOKEN) as client:
                order = await client.submit(served.guard.request())

        assert len(cut) == 2
        assert order.broker_order_id is not None
        assert len(desk.orders()) == 1


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def test_a_refusal_carries_its_codes_and_numbers(desk: Desk, counter: Any) -> None:
    async with counter.serving(desk, MAX_ORDER_QUANTITY=3) as served:
        async with AsyncClient(served.url, token=counter.TOKEN) as client:
            with pytest.raises(DeniedError) as denied:
                await client.submit(served.guard.request(quantity=5))
            with pytest.raises(GuardCallError) as unknown:
                await client.order("nobody")
        async with AsyncClient(served.url, token="another") as stranger:
            with pytest.raises(GuardCallError) as refused:
                await stranger.status()

    assert "SIZE_TOO_LARGE" in denied.value.codes
    (size,) = [it for it in denied.value.denials if it.code == "SIZE_TOO_LARGE"]
    assert size.max_quantity == 3
    assert (unknown.value.status, unknown.value.code) == (404, "UNKNOWN_ORDER")
    assert (refused.value.status, refused.value.code) == (401, "TOKEN_REQUIRED")


async def test_a_guard_that_speaks_tls_is_checked_against_its_certificate(
    desk: Desk, counter: Any, tmp_path: Path
) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    certificate, key = tmp_path / "guard.pem", tmp_path / "guard.key"
    issued.cert_chain_pems[0].write_to_path(str(certificate))
    issued.private_key_pem.write_to_path(str(key))
    for made, name in ((authority, "right.pem"), (stranger, "wrong.pem")):
        made.cert_pem.write_to_path(str(tmp_path / name))

    async with counter.serving(desk, tls=(certificate, key)) as served:
        place = {"BACKSTOP_URL": served.url, "BACKSTOP_API_TOKEN": counter.TOKEN}
        right = {**place, "BACKSTOP_TLS_CERT": str(tmp_path / "right.pem")}
        wrong = {**place, "BACKSTOP_TLS_CERT": str(tmp_path / "wrong.pem")}
        async with AsyncClient.from_env(right) as client:
            assert (await client.status()).account_id == desk.account
        async with AsyncClient.from_env(wrong) as client:
            with pytest.raises(GuardSilentError, match="certificate") as stranger_met:
                await client.status()

    assert not stranger_met.value.may_be_done


async def test_without_a_token_it_is_said_where_one_is() -> None:
    with pytest.raises(GuardCallError, match="BACKSTOP_API_TOKEN"):
        Client.from_env({})


async def test_where_nobody_listens_nothing_was_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    async with AsyncClient(f"http://127.0.0.1:{port}", token="t") as client:
        with pytest.raises(GuardSilentError, match="Nothing was sent") as absent:
            await client.cancel("c-1")

    assert not absent.value.may_be_done


async def test_a_guard_that_does_not_answer_leaves_the_fate_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        async with AsyncClient(f"http://127.0.0.1:{port}", token="t", timeout_s=0.1) as client:
            with pytest.raises(GuardSilentError, match="Order c-1 may be live") as fate:
                await client.cancel("c-1")

    assert (fate.value.client_order_id, fate.value.may_be_done) == ("c-1", True)


async def test_a_program_without_asyncio_trades_and_closes(desk: Desk, counter: Any) -> None:
    async with counter.serving(desk) as served:
        entry = replace(served.guard.request(), strategy_id="loop")
        resting = served.guard.request(Side.BUY, 1, OrderType.LIMIT, ticks=-100)

        def program() -> tuple[str, str, str | None]:
            with Client(served.url, token=counter.TOKEN) as client:
                with client.bot("loop") as bot:
                    client.submit(entry)
                    filled = client.finished(entry.client_order_id)
                    bot.beat(progress=1)
                    client.submit(resting)
                    client.cancel(resting.client_order_id)
                    gone = client.finished(resting.client_order_id)
                    assert [it.bot_id for it in client.bots()] == ["loop"]
                assert client.bots() == ()
                closing = client.close_position("MES")
                return filled.state, gone.state, closing.liquidation_id

        filled, gone, liquidation_id = await in_a_thread(program)
        await until(lambda: not served.guard.position(), lambda: served.guard.book.liquidations)

    assert (filled, gone) == ("FILLED", "CANCELLED")
    assert liquidation_id is not None


async def test_a_bot_that_fails_stays_registered_and_falls_silent(desk: Desk, counter: Any) -> None:
    async with (
        counter.serving(desk) as served,
        AsyncClient(served.url, token=counter.TOKEN) as client,
    ):
        with pytest.raises(ZeroDivisionError):
            async with client.bot("alpha", heartbeat_timeout_ms=1_000):
                raise ZeroDivisionError
        bots = served.guard.book.bots
        await until(lambda: bots["alpha"].state is BotState.SILENT, lambda: bots)
        (seen,) = await client.bots()

    assert (seen.state, seen.policy) == ("SILENT", "STOP_ENTRIES")


async def test_beats_are_sent_only_as_often_as_needed(desk: Desk, counter: Any) -> None:
    async with (
        counter.serving(desk) as served,
        AsyncClient(served.url, token=counter.TOKEN) as client,
        client.bot("alpha", heartbeat_timeout_ms=60_000) as bot,
    ):
        first = bot.seen
        assert all([await bot.beat() is first for _ in range(100)])
        assert await bot.beat(now=True) is not first


async def test_what_is_at_risk_and_what_people_were_told_are_read_and_acknowledged(
    desk: Desk, counter: Any
) -> None:
    """Reading an alert changes nothing else."""
    async with counter.serving(desk) as served:
        await served.guard.enter(quantity=2)

        def program() -> Any:
            with Client(served.url, token=counter.TOKEN) as client:
                client.halt(reason="news", operator="ann")
                opened = client.alerts(only_open=True)
                read = [client.acknowledge_alert(it.id, operator="ann") for it in opened]
                return client.exposure(), client.account(), read, client.alerts(only_open=True)

        exposure, account, read, left = await in_a_thread(program)
        halted = served.guard.book.latches

    assert exposure.enforced
    assert all(it.headroom <= it.allowed - it.value for it in exposure.limits)
    assert any(it.value > 0 for it in exposure.limits)
    assert isinstance(account.balance, Decimal)
    assert account.day == account.realised + account.open
    assert read
    assert {(it.acknowledged_by, it.is_open) for it in read} == {("ann", False)}
    assert left == ()
    assert halted


# -- the record as a stream ------------------------------------------------------------------------


async def test_the_stream_goes_on_over_a_restart_of_the_guard_without_gap_or_repeat(
    desk: Desk, counter: Any
) -> None:
    seen: list[int] = []
    kinds: list[str] = []

    async def watch(url: str) -> None:
        async with AsyncClient(url, token=counter.TOKEN) as client:
            async for event in client.events(after_seq=0):
                seen.append(event.seq)
                kinds.append(event.kind)

    async with counter.serving(desk) as served:
        url = served.url
        watching = asyncio.create_task(watch(url))
        await served.guard.enter()
        await until(lambda: "TradeReported" in kinds, lambda: kinds)
        before = len(seen)
    async with counter.serving(desk, port=int(url.rpartition(":")[2])) as served:
        await until(lambda: kinds.count("GuardStarted") == 2, lambda: kinds[before:])
        newest = served.guard.manager.journal_seq
        await until(lambda: seen[-1] >= newest, lambda: seen[-3:])
        watching.cancel()

    assert seen == list(range(1, len(seen) + 1))


async def test_a_stream_from_now_on_tells_what_comes(desk: Desk, counter: Any) -> None:
    async with counter.serving(desk) as served:
        newest = served.guard.manager.journal_seq

        def program() -> tuple[int, str]:
            with Client(served.url, token=counter.TOKEN) as client:
                for event in client.events():
                    if event.kind == "HaltRequested":
                        return event.seq, bytes(event.payload).decode()
            return 0, ""

        listening = asyncio.create_task(in_a_thread(program))
        async with AsyncClient(served.url, token=counter.TOKEN) as client:
            while not listening.done():
                # Until the listener is there, nobody hears it.
                await client.halt(
                    reason=f"lunch {served.guard.manager.journal_seq}", operator="ann"
                )
                await asyncio.wait((listening,), timeout=0.2)
        seq, payload = await listening

    assert seq > newest
    assert '"operator":"ann"' in payload


async def test_a_guard_that_ends_ends_its_streams_and_cuts_none(desk: Desk, counter: Any) -> None:
    headers = {"Authorization": f"Bearer {counter.TOKEN}"}
    async with (
        counter.serving(desk) as served,
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{served.url}/v1/events?from=1") as response,
    ):
        assert (await response.content.readline()).startswith(b"id: 0")
        served.server.stop()
        # A connection that is cut raises here: the answer has an end of its own.
        rest = await response.content.read()

    assert rest.endswith(b"\n\n")
    assert b"event: GuardStarted" in rest


async def test_a_place_that_this_record_does_not_have_is_refused(desk: Desk, counter: Any) -> None:
    async with (
        counter.serving(desk) as served,
        AsyncClient(served.url, token=counter.TOKEN) as client,
    ):
        with pytest.raises(GuardCallError) as beyond:
            await anext(aiter(client.events(after_seq=10**9)))

    assert (beyond.value.status, beyond.value.field) == (409, "Last-Event-ID")
