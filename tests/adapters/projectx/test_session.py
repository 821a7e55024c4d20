import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from tests.adapters.projectx.conftest import OK, Key, ScriptedApi, SystemClock, make_jwt

from backstop.adapters.projectx.rate_budget import RateBudget
from backstop.adapters.projectx.session import (
    LOGIN_PAUSE_S,
    REFUSED_PAUSE_S,
    RENEW_AT_THE_LATEST_S,
    RENEW_BEFORE_S,
    BearerToken,
    Refusal,
    Session,
)
from backstop.adapters.projectx.transport import Transport
from backstop.errors import GatewayAnswerError, GatewayUnreachableError, LoginRefusedError

LOGIN = "/api/Auth/loginKey"
VALIDATE = "/api/Auth/validate"
SECOND_NS = 1_000_000_000


class MovableClock(SystemClock):
    """The machine's clocks, both moved forward by ``ahead_ns``."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead_ns = 0

    def monotonic_ns(self) -> int:
        return super().monotonic_ns() + self.ahead_ns

    def utc_us(self) -> int:
        return super().utc_us() + self.ahead_ns // 1000

    def advance(self, seconds: float) -> None:
        self.ahead_ns += int(seconds * SECOND_NS)


@asynccontextmanager
async def a_session(api: ScriptedApi, clock: SystemClock, **secrets: Any) -> AsyncIterator[Session]:
    async with Transport(api.url, clock=clock) as transport:
        session = Session(
            transport=transport,
            budget=RateBudget(clock=clock),
            clock=clock,
            user_name="trader77",
            **(secrets or {"api_key": Key("k1")}),
        )
        yield session
        await session.close()


async def test_many_callers_share_one_login(api: ScriptedApi) -> None:
    async with a_session(api, SystemClock()) as session:
        tokens = await asyncio.gather(*(session.token() for _ in range(20)))

    assert api.logins == 1
    assert len({token.reveal() for token in tokens}) == 1
    assert api.bodies(LOGIN) == [{"userName": "trader77", "apiKey": "k1"}]


async def test_a_caller_that_gives_up_takes_the_login_from_nobody(api: ScriptedApi) -> None:
    release = asyncio.Event()

    async def slowly(_request: web.Request, _body: Any) -> web.StreamResponse:
        await release.wait()
        return web.json_response({**OK, "token": make_jwt(lives_s=86_400)})

    api.answer(LOGIN, slowly)
    async with a_session(api, SystemClock()) as session:
        impatient = asyncio.ensure_future(session.token())
        patient = asyncio.ensure_future(session.token())
        await asyncio.sleep(0)
        impatient.cancel()
        release.set()

        assert (await patient).reveal().startswith("eyJ")
    assert api.count(LOGIN) == 1


async def test_a_good_token_is_used_without_asking(api: ScriptedApi) -> None:
    given = make_jwt(lives_s=86_400, name="given")
    async with a_session(api, SystemClock(), token=Key(given)) as session:
        assert (await session.token()).reveal() == given

    assert api.calls == []


async def test_a_token_is_renewed_through_validate_half_an_hour_before_its_end(
    api: ScriptedApi,
) -> None:
    clock = MovableClock()
    api.answer(VALIDATE, {**OK, "newToken": make_jwt(lives_s=200_000, name="renewed")})
    async with a_session(api, clock) as session:
        first = await session.token()
        clock.advance(86_400 - RENEW_AT_THE_LATEST_S - 60)
        assert await session.token() is first

        clock.advance(120)
        renewed = await session.token()

    assert renewed.reveal().endswith("renewed")
    assert api.logins == 1
    assert [token for path, _, token in api.calls if path == VALIDATE] == [
        f"Bearer {first.reveal()}"
    ]


async def test_the_background_renewal_comes_earlier_and_waits_for_a_liquidation(
    api: ScriptedApi,
) -> None:
    clock = MovableClock()
    api.answer(VALIDATE, {**OK, "newToken": make_jwt(lives_s=200_000)})
    async with a_session(api, clock) as session:
        await session.token()
        assert not await session.renew_if_due()
        clock.advance(86_400 - RENEW_BEFORE_S + 60)

        assert not await session.renew_if_due(lambda: False)
        assert await session.renew_if_due()
        assert not await session.renew_if_due()

    assert api.count(VALIDATE) == 1


async def test_a_failed_renewal_leaves_the_old_token_in_use(api: ScriptedApi) -> None:
    clock = MovableClock()
    api.answer(VALIDATE, (503, ""))
    async with a_session(api, clock) as session:
        first = await session.token()
        clock.advance(86_400 - RENEW_AT_THE_LATEST_S + 60)

        assert await session.token() is first
        assert await session.token() is first

    assert api.count(VALIDATE) == 1  # the second caller did not wait for another failure


async def test_an_ended_token_is_replaced_by_a_login(api: ScriptedApi) -> None:
    clock = MovableClock()
    async with a_session(api, clock) as session:
        await session.token()
        clock.advance(90_000)
        api.token_life_s = 200_000
        await session.token()

    assert (api.logins, api.count(VALIDATE)) == (2, 0)


async def test_a_refused_token_is_renewed_once_however_many_heard_the_401(
    api: ScriptedApi,
) -> None:
    api.answer(VALIDATE, {**OK, "newToken": make_jwt(lives_s=86_400, name="renewed")})
    async with a_session(api, SystemClock()) as session:
        first = await session.token()
        for _ in range(5):
            session.refuse(first)
        tokens = await asyncio.gather(*(session.token() for _ in range(5)))
        session.refuse(first)  # heard late: it is not about the new token

        assert {token.reveal() for token in tokens} == {(await session.token()).reveal()}
    assert (api.logins, api.count(VALIDATE)) == (1, 1)


async def test_a_403_is_about_the_call_where_the_renewal_says_so(api: ScriptedApi) -> None:
    api.answer(VALIDATE, {**OK, "newToken": make_jwt(lives_s=86_400, name="renewed")})
    async with a_session(api, SystemClock()) as session:
        session.doubt(await session.token())
        fresh = await session.token()
        session.doubt(fresh)  # a call that is never ours to make does not renew for ever

        assert await session.token() is fresh
    assert (api.logins, api.count(VALIDATE)) == (1, 1)


async def test_a_403_is_about_us_where_the_renewal_and_the_login_say_so(api: ScriptedApi) -> None:
    told: list[Refusal | None] = []
    clock = MovableClock()
    async with a_session(api, clock, api_key=Key("k1"), on_access=told.append) as session:
        held = await session.token()
        clock.advance(LOGIN_PAUSE_S + 1)
        api.answer(VALIDATE, (403, ""))
        api.answer(LOGIN, (403, ""))
        session.doubt(held)

        with pytest.raises(LoginRefusedError, match="HTTP 403"):
            await session.token()
    assert [it is not None for it in told] == [True]


async def test_a_403_takes_no_token_away_while_the_renewal_fails(api: ScriptedApi) -> None:
    """The way out must not depend on a service that cannot answer."""
    api.answer(VALIDATE, (500, ""))
    async with a_session(api, SystemClock()) as session:
        held = await session.token()
        session.doubt(held)

        assert await session.token() is held


async def test_a_token_that_validate_refuses_too_is_replaced_by_a_login(api: ScriptedApi) -> None:
    clock = MovableClock()
    api.answer(VALIDATE, (401, ""))
    async with a_session(api, clock) as session:
        session.refuse(await session.token())
        clock.advance(LOGIN_PAUSE_S + 1)

        assert (await session.token()).reveal().endswith("login2")


async def test_a_token_refused_right_after_its_login_does_not_cause_a_storm_of_logins(
    api: ScriptedApi,
) -> None:
    api.answer(VALIDATE, (401, ""))
    async with a_session(api, SystemClock()) as session:
        session.refuse(await session.token())
        for _ in range(5):
            with pytest.raises(LoginRefusedError, match="just given"):
                await session.token()

    assert api.logins == 1


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (1, "UserNotFound"),
        (3, "InvalidCredentials"),
        (7, "AgreementsNotSigned"),
        (9, "ApiSubscriptionNotFound"),
        (10, "ApiKeyAuthenticationDisabled"),
        (77, "a reason that this version does not know"),
    ],
)
async def test_a_refused_login_says_why_and_never_shows_the_key(
    api: ScriptedApi, code: int, words: str
) -> None:
    message = "bad key hunter2 for you"
    api.answer(LOGIN, {"token": None, "success": False, "errorCode": code, "errorMessage": message})
    async with a_session(api, SystemClock(), api_key=Key("hunter2")) as session:
        with pytest.raises(LoginRefusedError, match=words) as refused:
            await session.token()

    assert f"code {code}" in str(refused.value)
    assert "hunter2" not in str(refused.value)


async def test_a_refused_login_is_not_repeated_for_a_while(api: ScriptedApi) -> None:
    clock = MovableClock()
    refusal = {"token": None, "success": False, "errorCode": 3, "errorMessage": None}
    api.answer(LOGIN, refusal, {**OK, "token": make_jwt(lives_s=200_000)})
    async with a_session(api, clock) as session:
        for _ in range(5):
            with pytest.raises(LoginRefusedError):
                await session.token()
        assert api.count(LOGIN) == 1

        clock.advance(REFUSED_PAUSE_S + 1)
        await session.token()


async def test_a_token_that_ends_without_a_key_says_what_to_set(api: ScriptedApi) -> None:
    async with a_session(api, SystemClock(), token=Key(make_jwt(lives_s=-10))) as session:
        with pytest.raises(LoginRefusedError, match="TOPSTEPX_API_KEY"):
            await session.token()

    assert api.calls == []


@pytest.mark.parametrize(
    "answer",
    [
        (500, "x"),
        (200, "<html>"),
        (200, '{"token":"secret-token"}'),
        (200, '{"x":' + "[" * 200_000),
        (302, ""),
    ],
    ids=["error", "page", "no envelope", "nested without end", "redirect"],
)
async def test_a_login_answer_that_makes_no_sense_is_not_quoted(
    api: ScriptedApi, answer: tuple[int, str]
) -> None:
    api.answer(LOGIN, answer)
    async with a_session(api, SystemClock()) as session:
        with pytest.raises(GatewayAnswerError) as fault:
            await session.token()

    assert "secret-token" not in str(fault.value)
    assert "TOPSTEPX_API_URL" in str(fault.value)


async def test_a_login_that_is_accepted_without_a_token_is_not_called_refused(
    api: ScriptedApi,
) -> None:
    api.answer(LOGIN, {**OK, "token": None})
    async with a_session(api, SystemClock()) as session:
        with pytest.raises(LoginRefusedError, match="accepted the login and gave no token"):
            await session.token()


async def test_an_unreachable_gateway_is_named_as_such(unused_tcp_port: int) -> None:
    api = ScriptedApi()
    api.url = f"http://127.0.0.1:{unused_tcp_port}"
    async with a_session(api, SystemClock()) as session:
        with pytest.raises(GatewayUnreachableError, match="no connection"):
            await session.token()


@pytest.mark.parametrize("text", ["opaque", "a.b.c", "a.bm90IGpzb24.c", "a.e30.c", "..", ""])
async def test_a_token_whose_end_cannot_be_read_is_taken_for_a_day(
    api: ScriptedApi, text: str
) -> None:
    clock = MovableClock()
    async with a_session(api, clock, token=Key(text)) as session:
        assert (await session.token()).reveal() == text
        clock.advance(86_400 - RENEW_AT_THE_LATEST_S - 60)
        assert (await session.token()).reveal() == text

    assert api.calls == []


async def test_a_step_of_the_wall_clock_moves_no_renewal(api: ScriptedApi) -> None:
    clock = SystemClock()
    async with a_session(api, clock) as session:
        first = await session.token()
        clock.skew_us = 100_000_000_000

        assert await session.token() is first


async def test_the_end_of_a_token_is_read_on_the_gateways_clock(api: ScriptedApi) -> None:
    """Our wall clock is two days ahead: without the gateway's the token would look ended."""
    clock = SystemClock()
    clock.skew_us = 2 * 86_400 * 1_000_000
    async with a_session(api, clock) as session:
        first = await session.token()

        assert await session.token() is first
    assert api.logins == 1


def test_a_token_prints_as_stars() -> None:

    token = BearerToken("secret-token", ends_ns=1, life_ns=1)

    assert "secret-token" not in f"{token} {token!r} {[token]}"


# -- a key that is revoked, a key that is changed --------------------------------------------------


def only(*keys: str) -> Any:
    """Return an answer of loginKey that lets these keys in."""

    async def log_in(_request: web.Request, body: Any) -> web.StreamResponse:
        if body["apiKey"] in keys:
            return web.json_response({**OK, "token": make_jwt(lives_s=86_400, name=body["apiKey"])})
        refused = {"success": False, "errorCode": 3, "errorMessage": None, "token": None}
        return web.json_response(refused)

    return log_in


async def test_a_refused_key_makes_room_for_the_spare_one_at_once(api: ScriptedApi) -> None:
    told: list[Refusal | None] = []
    api.answer(VALIDATE, (401, ""))
    api.answer(LOGIN, only("k1"))
    keys: dict[str, Any] = {"api_key": Key("k1"), "spare_key": Key("s1"), "on_access": told.append}
    async with a_session(api, SystemClock(), **keys) as session:
        first = await session.token()
        assert told == []
        api.answer(LOGIN, only("s1"))
        session.refuse(first)

        second = await session.token()

    assert second.reveal().endswith("s1")
    assert [it is not None and it.spare_works for it in told] == [True]


async def test_a_token_refused_right_after_its_login_is_the_second_no_and_is_told(
    api: ScriptedApi,
) -> None:
    told: list[Refusal | None] = []
    api.answer(VALIDATE, (403, ""))
    async with a_session(api, SystemClock(), api_key=Key("k1"), on_access=told.append) as session:
        session.refuse(await session.token())

        with pytest.raises(LoginRefusedError, match="refuses a token that it has just given"):
            await session.token()

    assert [it is not None and it.spare_works for it in told] == [False]


async def test_a_login_that_is_forbidden_is_a_refusal(api: ScriptedApi) -> None:
    api.answer(LOGIN, (403, ""))
    async with a_session(api, SystemClock()) as session:
        with pytest.raises(LoginRefusedError, match="HTTP 403"):
            await session.token()


async def test_a_changed_key_is_taken_up_beside_the_token_in_use(api: ScriptedApi) -> None:
    told: list[Refusal | None] = []
    api.answer(LOGIN, only("k1", "k2"))
    async with a_session(api, SystemClock(), api_key=Key("k1"), on_access=told.append) as session:
        before = await session.token()

        with pytest.raises(LoginRefusedError):
            await session.adopt_key(Key("k3"))
        assert await session.token() is before, "a typing mistake must not cost the session"
        await session.adopt_key(Key("k2"))

        assert (await session.token()).reveal().endswith("k2")
    assert told == []


@pytest.mark.parametrize("verdict", [{"success": True}, {"success": False}])
async def test_a_renewal_under_way_does_not_replace_a_token_that_was_changed_meanwhile(
    api: ScriptedApi, verdict: dict[str, bool]
) -> None:
    asked, release, clock = asyncio.Event(), asyncio.Event(), MovableClock()
    renewed, changed = make_jwt(lives_s=86_400, name="renewed"), make_jwt(lives_s=172_800, name="x")

    async def slowly(_request: web.Request, _body: Any) -> web.StreamResponse:
        asked.set()
        await release.wait()
        return web.json_response({**OK, "newToken": renewed, **verdict})

    api.answer(VALIDATE, slowly)
    async with a_session(api, clock) as session:
        before = await session.token()
        session.doubt(before)
        waiting = asyncio.ensure_future(session.token())
        await asyncio.wait_for(asked.wait(), 10)
        session.adopt_token(Key(changed))
        release.set()

        assert (await waiting).reveal() == changed
        assert (await session.token()).reveal() == changed
    assert api.logins == 1, "what became of the token before is of no use to anybody"


async def test_a_login_under_way_does_not_replace_a_token_that_was_changed_meanwhile(
    api: ScriptedApi,
) -> None:
    asked, release = asyncio.Event(), asyncio.Event()
    changed = make_jwt(lives_s=86_400, name="changed")

    async def slowly(_request: web.Request, _body: Any) -> web.StreamResponse:
        asked.set()
        await release.wait()
        return web.json_response({**OK, "token": make_jwt(lives_s=86_400)})

    api.answer(LOGIN, slowly)
    async with a_session(api, SystemClock()) as session:
        waiting = asyncio.ensure_future(session.token())
        await asyncio.wait_for(asked.wait(), 10)
        session.adopt_token(Key(changed))
        release.set()

        assert (await waiting).reveal() == changed
        assert (await session.token()).reveal() == changed


async def test_a_changed_token_ends_a_refusal_once_the_gateway_accepts_it(api: ScriptedApi) -> None:
    told: list[Refusal | None] = []
    api.answer(
        VALIDATE, {**OK, "success": False}, {**OK, "newToken": make_jwt(lives_s=86_400, name="new")}
    )
    secret = {"token": Key(make_jwt(lives_s=86_400, name="revoked")), "on_access": told.append}
    async with a_session(api, SystemClock(), **secret) as session:
        session.refuse(await session.token())
        with pytest.raises(LoginRefusedError):
            await session.token()

        session.adopt_token(Key(make_jwt(lives_s=86_400, name="changed")))
        await session.token()

    assert [it is None for it in told] == [False, True]


async def test_a_changed_key_ends_a_refusal_without_waiting_for_its_pause(
    api: ScriptedApi,
) -> None:
    told: list[Refusal | None] = []
    api.answer(LOGIN, only("k2"))
    async with a_session(api, SystemClock(), api_key=Key("k1"), on_access=told.append) as session:
        with pytest.raises(LoginRefusedError):
            await session.token()

        await session.adopt_key(Key("k2"))

        assert (await session.token()).reveal().endswith("k2")
    assert [it is None for it in told] == [False, True]
