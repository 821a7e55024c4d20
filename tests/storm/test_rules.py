"""Rules of the storm's judge, each where it must speak and where it must not."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal

import pytest
from msgspec.structs import replace

from backstop.adapters.projectx.wire import (
    OrderRow,
    PlaceBody,
    TradeRow,
    WireOrderStatus,
    WireOrderType,
)
from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.core.step import DecisionKind, Note, Tag
from backstop.domain.alert_code import AlertCode
from backstop.domain.order import OrderRequest, OrderState, OrderType, Side
from backstop.simulator.fault_rules import FaultKind
from backstop.storm.calm import come_to_rest
from backstop.storm.gateway_bots.client import Told
from backstop.storm.gateway_bots.judge import BotsJudge
from backstop.storm.mutations import Mutation, planted
from backstop.storm.plan import Weather, plan_of
from backstop.storm.record import record_faults
from backstop.storm.rules.beliefs import BeliefRules
from backstop.storm.rules.cover import CANCEL_RACE_S, SURPLUS_S, TOLD_S, CoverRules
from backstop.storm.rules.exposure import ExposureRule
from backstop.storm.rules.flips import FlipRules
from backstop.storm.rules.reading import CALLS_MAX, READS, UNREAD_S, WINDOW_S, ReadingRule
from backstop.storm.rules.scene import DENIED_S, LOOK_S, RACE_S, RECOVERY_S, SETTLED_S, Scene
from backstop.storm.rules.sending import SendingRules
from backstop.storm.seed_run import simulated
from backstop.storm.terms import Hours, Terms, terms_of
from backstop.storm.truth import NEWS_S, STOPS, TradeNews, Truth, sign
from backstop.storm.venue import ACCOUNT_ID
from backstop.storm.world import World

SEED = 20
NEVER_S = 1e9
UNTOLD = 9
"""A trade that the venue tells nobody of."""
LEGS_S = 0.1
"""Of virtual time: by then an order has filled, and its legs work."""

RULE = "protected or flat"
INVENTED = "no position without proof"

MANY_LOOKS = int(2 * UNREAD_S / LOOK_S)
FEW_LOOKS = 4


def play(story: Callable[[World], Awaitable[None]], *, ready_s: float = SETTLED_S + 1.0) -> World:
    """Let a story happen to a guard on a calm day, once nothing has disturbed it for a while."""

    async def act(world: World) -> None:
        await world.begin()
        await asyncio.sleep(ready_s)
        await story(world)
        await world.end()

    return simulated(replace(plan_of(SEED), pause_s=NEVER_S), act, terms=quiet_terms())


def quiet_terms() -> Terms:
    settings = {"DRY_RUN": False, "EXECUTE": True, "DEFAULT_STOP_TICKS": 60}
    return replace(
        terms_of(SEED, stops_are_needed=True),
        hours=Hours.QUIET,
        settings={**settings, "BACKSTOP_CALENDAR": "always-open"},
    )


def guard_of(world: World) -> CriticalSystemManager:
    guard = world.host.guard
    assert guard is not None
    return guard


def rules(world: World) -> list[str]:
    return [it.rule for it in world.safety.violations]


async def buy_with_a_stop(world: World) -> tuple[str, OrderRow]:
    """Have the guard buy; return the contract, and the leg as soon as it works."""
    contract_id = world.venue.contract_ids["MES"]
    bid, tick = world.venue.touch(contract_id)
    request = OrderRequest(
        client_order_id="b1",
        symbol="MES",
        side=Side.BUY,
        quantity=1,
        type=OrderType.MARKET,
        stop_loss_price=bid - 80 * tick,
    )
    decision = await guard_of(world).submit_order(request)
    assert decision.kind is DecisionKind.ACCEPTED
    await asyncio.sleep(LEGS_S)
    (leg,) = (row for row in world.truth.live.values() if row.type in STOPS)
    assert leg.status == WireOrderStatus.OPEN
    return contract_id, leg


# -- the account is read ---------------------------------------------------------------------------


def test_an_account_that_is_not_read_is_noticed_once_for_each_kind_of_read() -> None:
    async def story(world: World) -> None:
        rule = ReadingRule(world.safety.scene)
        for _ in range(MANY_LOOKS):
            rule.look(able=True)

    world = play(story)
    assert rules(world) == ["the account is read"] * len(READS)


def test_reads_that_come_and_a_guard_that_cannot_read_break_nothing() -> None:
    async def story(world: World) -> None:
        scene = world.safety.scene
        reads, cannot, disturbed = ReadingRule(scene), ReadingRule(scene), ReadingRule(scene)
        for _ in range(MANY_LOOKS):
            reads.look(able=True)
            for endpoint in READS:
                reads.on_call(endpoint)
            cannot.look(able=False)
        world.safety.disturb()
        for _ in range(MANY_LOOKS):
            disturbed.look(able=True)

    assert rules(play(story)) == []


def test_who_has_spent_all_calls_but_the_kept_reads_later_and_no_later_than_a_minute() -> None:
    async def story(world: World) -> None:
        rule = ReadingRule(world.safety.scene)
        for _ in range(CALLS_MAX):
            rule.on_call("Order/cancel")
        for _ in range(MANY_LOOKS):
            rule.look(able=True)
        assert rules(world) == []
        await asyncio.sleep(WINDOW_S + 1.0)
        for _ in range(MANY_LOOKS):
            rule.look(able=True)

    assert set(rules(play(story))) == {"the account is read"}


# -- what reads may move ---------------------------------------------------------------------------


def adjusted_to_nothing(world: World, contract_id: str) -> None:
    """Have the guard's book say that reads have shown the position to be gone."""
    book = guard_of(world).book
    view = book.positions[contract_id]
    book.positions[contract_id] = replace(view, adjustment=-view.traded)


def told_of_an_adjustment() -> Note:
    return Note(tag=Tag.CRITICAL, name="alert", fields={"code": AlertCode.POSITION_ADJUSTED})


def test_a_position_that_an_old_picture_has_moved_is_noticed() -> None:
    async def story(world: World) -> None:
        contract_id, _ = await buy_with_a_stop(world)
        await asyncio.sleep(1.0)
        rule = BeliefRules(world.safety.scene)
        rule.look(guard_of(world).book)
        rule.on_note(told_of_an_adjustment())
        assert rules(world) == []
        adjusted_to_nothing(world, contract_id)
        rule.on_note(told_of_an_adjustment())
        world.host.kill(down_s=NEVER_S)  # what it would do now is no matter

    assert rules(play(story)) == ["no conclusion from an old picture"]


def test_two_empty_lists_are_believed_and_one_is_not_enough() -> None:
    async def story(world: World) -> None:
        scene = world.safety.scene
        contract_id, _ = await buy_with_a_stop(world)
        await asyncio.sleep(1.0)
        rule = BeliefRules(scene)
        rule.look(guard_of(world).book)
        adjusted_to_nothing(world, contract_id)
        world.safety.on_fault("Position/searchOpen", FaultKind.EMPTY_LIST)
        told_once = scene.was_told_flat
        world.safety.on_fault("Position/searchOpen", FaultKind.EMPTY_LIST)
        assert (told_once, scene.was_told_flat) == (False, True)
        rule.on_note(told_of_an_adjustment())
        world.host.kill(down_s=NEVER_S)
        await asyncio.sleep(DENIED_S + 1.0)
        assert not scene.was_told_flat

    assert rules(play(story)) == []


@pytest.mark.parametrize(
    ("empty_lists", "by_reads", "broken"),
    [(2, True, []), (1, True, [INVENTED]), (2, False, [INVENTED])],
    ids=["denied twice", "denied once", "trades that do not add up"],
)
def test_empty_lists_alone_may_make_nothing_of_what_has_long_been_held(
    empty_lists: int, *, by_reads: bool, broken: list[str]
) -> None:
    async def story(world: World) -> None:
        contract_id, _ = await buy_with_a_stop(world)
        await asyncio.sleep(NEWS_S + LOOK_S)  # until nothing but this has been held of late
        book = guard_of(world).book
        view = book.positions[contract_id]
        book.positions[contract_id] = (
            replace(view, quantity=0, adjustment=-view.traded)
            if by_reads
            else replace(view, quantity=0, traded=0)
        )
        for _ in range(empty_lists):
            world.safety.on_fault("Position/searchOpen", FaultKind.EMPTY_LIST)
        rule = BeliefRules(world.safety.scene)
        for _ in range(FEW_LOOKS):
            rule.look(book)
        world.host.kill(down_s=NEVER_S)

    assert rules(play(story)) == broken


# -- a leg that is taken away ----------------------------------------------------------------------


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize(("decided_after_s", "broken"), [(0.5, [RULE]), (0.05, []), (None, [])])
def test_a_leg_that_began_to_work_with_its_position_is_not_cancelled_by_who_could_know(
    decided_after_s: float | None, broken: list[str], *, told: bool
) -> None:
    """That it works tells of the trade of its entry, also where nobody told of that."""

    async def story(world: World) -> None:
        scene: Scene = world.safety.scene
        _, leg = await buy_with_a_stop(world)
        if not told:
            guard_of(world).book.trades.clear()
        if decided_after_s is not None:
            decided_s = world.truth.opened_s[leg.id] + decided_after_s
            scene.decided_s = lambda _kind, _about: decided_s
        CoverRules(scene, naked_limit_s=NEVER_S).on_cancel(leg.id)

    assert rules(play(story)) == broken


@pytest.mark.parametrize(
    ("decided_after_it_s", "cancelled_after_it_s", "broken"),
    [(-0.01, 0.0, []), (0.01, 0.0, []), (-0.01, TOLD_S, []), (0.01, TOLD_S, [RULE])],
    ids=["before it, at once", "untold", "before it, late", "told"],
)
def test_a_stop_that_was_one_too_many_is_cancelled_while_more_fills(
    decided_after_it_s: float, cancelled_after_it_s: float, broken: list[str]
) -> None:
    async def story(world: World) -> None:
        scene: Scene = world.safety.scene
        contract_id, leg = await buy_with_a_stop(world)
        second = PlaceBody(
            account_id=ACCOUNT_ID,
            contract_id=contract_id,
            type=WireOrderType.STOP,
            side=1,
            size=1,
            stop_price=leg.stop_price,
        )
        traded = asyncio.Event()
        world.truth.on_trade = lambda _trade, _before: traded.set()
        await asyncio.sleep(TOLD_S)
        world.venue.exchange.place_by_others(second)
        world.venue.exchange.place_manual(
            ACCOUNT_ID, contract_id, type=WireOrderType.MARKET, side=0, size=1
        )
        await asyncio.wait_for(traded.wait(), 1.0)
        decided_s = world.now_s() + decided_after_it_s
        scene.decided_s = lambda _kind, _about: decided_s
        await asyncio.sleep(cancelled_after_it_s)
        CoverRules(scene, naked_limit_s=NEVER_S).on_cancel(leg.id)

    assert rules(play(story)) == broken


@pytest.mark.parametrize(("turns", "broken"), [(True, []), (False, [RULE])])
def test_a_stop_on_the_side_of_what_may_be_held_protects_none_of_that(
    *, turns: bool, broken: list[str]
) -> None:
    """Somebody sold 3 and bought them again, and nobody told the guard: 2 may be short."""

    async def story(world: World) -> None:
        scene: Scene = world.safety.scene
        contract_id, leg = await buy_with_a_stop(world)
        await asyncio.sleep(TOLD_S)
        decided_s = world.now_s()
        trades = asyncio.Semaphore(0)
        world.truth.on_trade = lambda _trade, _before: trades.release()
        for side in (1, 0) if turns else ():
            world.venue.exchange.place_manual(
                ACCOUNT_ID, contract_id, type=WireOrderType.MARKET, side=side, size=3
            )
            await trades.acquire()
        world.truth.traded_s[contract_id] -= CANCEL_RACE_S  # as if it had been kept from it since
        scene.decided_s = lambda _kind, _about: decided_s
        CoverRules(scene, naked_limit_s=NEVER_S).on_cancel(leg.id)

    assert rules(play(story)) == broken


BROKEN = ["no leg outlives its position"]


@pytest.mark.parametrize(
    ("held_and_legs", "broken"),
    [
        ([(0, 1), (0, 1)], BROKEN),
        ([(1, 2), (1, 2)], BROKEN),
        ([(2, 3), (1, 3)], BROKEN),
        ([(2, 3), (1, 2)], []),
        ([(2, 3), (1, 2), (1, 2), (1, 2)], BROKEN),
    ],
)
def test_legs_may_be_larger_than_what_is_held_as_long_as_as_much_was_held_meanwhile(
    held_and_legs: list[tuple[int, int]], broken: list[str]
) -> None:
    async def story(world: World) -> None:
        contract_id, leg = await buy_with_a_stop(world)
        rule = CoverRules(world.safety.scene, naked_limit_s=NEVER_S)
        for held, legs in held_and_legs:
            world.truth.positions[contract_id] = held
            world.truth.live[leg.id] = replace(leg, size=legs)
            for _ in range(int(SURPLUS_S / LOOK_S) // 2 + 1):
                rule.look(able=True)

    assert rules(play(story)) == broken


def at_work(_world: World) -> None:
    """Nothing happens to the guard."""


def power_cut(world: World) -> None:
    world.host.kill_all(down_s=NEVER_S)


def started_again(world: World) -> None:
    world.host.kill_all(down_s=0.0)


def asleep(world: World) -> None:
    world.host.freeze_all()


@pytest.mark.parametrize(
    ("happens", "filled_after_s", "broken"),
    [
        (at_work, RACE_S - LOOK_S, []),
        (at_work, RACE_S + LOOK_S, BROKEN),
        (power_cut, 2 * RECOVERY_S, []),
        (asleep, 2 * RECOVERY_S, []),
        (started_again, RECOVERY_S - LOOK_S, []),
        (started_again, 2 * RECOVERY_S, BROKEN),
    ],
)
def test_a_leg_that_opens_a_position_is_the_fault_of_a_guard_that_could_have_taken_it_away(
    happens: Callable[[World], None], filled_after_s: float, broken: list[str]
) -> None:
    async def story(world: World) -> None:
        contract_id, leg = await buy_with_a_stop(world)
        rule = CoverRules(world.safety.scene, naked_limit_s=NEVER_S)
        happens(world)
        rule.on_trade(None, contract_id, before=1, after=0)
        await asyncio.sleep(filled_after_s)
        rule.on_trade(leg, contract_id, before=0, after=-1)
        world.host.thaw()

    assert rules(play(story)) == broken


# -- entries of a halted guard ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recorded_after_s", "broken"),
    [(-1.0, []), (RACE_S + 1.0, ["halted"]), (None, ["halted"])],
)
def test_an_entry_is_judged_by_when_it_was_recorded_and_not_by_when_it_arrives(
    recorded_after_s: float | None, broken: list[str]
) -> None:
    async def story(world: World) -> None:
        scene: Scene = world.safety.scene
        rule, halted_s = SendingRules(scene), world.now_s()
        await guard_of(world).halt(reason="enough", operator="Ann")
        rule.look(able=True)
        await asyncio.sleep(2 * RACE_S)
        if recorded_after_s is not None:
            scene.recorded_s = lambda _kind, _about: halted_s + recorded_after_s
        scene.durable = lambda _kind, _about: True
        body = PlaceBody(
            account_id=ACCOUNT_ID,
            contract_id=world.venue.contract_ids["MES"],
            type=WireOrderType.MARKET,
            side=0,
            size=1,
            custom_tag="bs-entry",
        )
        rule.on_place(body)

    assert rules(play(story)) == broken


# -- entries while the disk takes nothing ----------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "size", "let_pass", "told", "broken"),
    [
        (Side.SELL, 1, True, False, []),
        (Side.SELL, 1, True, True, ["fail closed"]),
        (Side.SELL, 1, False, False, ["fail closed"]),
        (Side.SELL, 2, True, False, ["fail closed"]),
        (Side.BUY, 1, True, False, ["fail closed"]),
    ],
    ids=["kept from it", "told", "never an exit", "more than was held", "more of the same"],
)
def test_what_protects_a_position_whose_end_nobody_told_of_is_no_entry(
    side: Side, size: int, *, let_pass: bool, told: bool, broken: list[str]
) -> None:
    """The guard believes to hold one; at the venue that was sold long ago."""

    async def story(world: World) -> None:
        scene: Scene = world.safety.scene
        contract_id, leg = await buy_with_a_stop(world)
        book, truth = guard_of(world).book, world.truth
        truth.positions[contract_id] = 0
        truth.traded_s[contract_id] -= RACE_S
        truth.news[contract_id].append(TradeNews(UNTOLD, False, world.now_s(), 1, 0))
        if told:
            book.trades[UNTOLD] = next(iter(book.trades.values()))
        entry = book.orders["b1"]
        order = replace(
            entry,
            intent=replace(entry.intent, client_order_id="s1", side=side, quantity=size),
            custom_tag="bs-stop",
            fills=(),
        )
        if let_pass:
            book.orders["s1"] = order
            scene.on_note(told_of_an_intent("s1"))
        scene.durable = lambda _kind, _about: False
        scene.disk_troubled = lambda: True
        body = PlaceBody(
            account_id=ACCOUNT_ID,
            contract_id=contract_id,
            type=WireOrderType.STOP,
            side=1 if side is Side.SELL else 0,
            size=size,
            stop_price=leg.stop_price,
            custom_tag=order.custom_tag,
        )
        SendingRules(scene).on_place(body)
        world.host.kill(down_s=NEVER_S)  # what it would do now is no matter

    assert rules(play(story)) == broken


def told_of_an_intent(client_order_id: str) -> Note:
    fields: dict[str, str | int] = {
        "client_order_id": client_order_id,
        "state": OrderState.INTENDED,
    }
    return Note(tag=Tag.ORDER, name="order_state", fields=fields)


# -- the largest position --------------------------------------------------------------------------


@pytest.mark.parametrize(("by_guard", "broken"), [(True, []), (False, ["within limits"])])
def test_a_target_of_the_guard_enlarges_nothing_and_a_limit_order_of_a_bot_may(
    by_guard: bool,  # noqa: FBT001 - a column of the table
    broken: list[str],
) -> None:
    async def story(world: World) -> None:
        scene: Scene = world.safety.scene
        contract_id, leg = await buy_with_a_stop(world)
        world.truth.live[leg.id] = replace(
            leg, type=WireOrderType.LIMIT, size=5, custom_tag="bs-target"
        )
        if by_guard:
            scene.protective.add("bs-target")
        body = PlaceBody(
            account_id=ACCOUNT_ID,
            contract_id=contract_id,
            type=WireOrderType.MARKET,
            side=0,
            size=1,
            custom_tag="bs-more",
        )
        ExposureRule(scene, max_tenths=3).on_place(body)

    assert rules(play(story)) == broken


# -- a liquidation that has to wait ----------------------------------------------------------------


@pytest.mark.parametrize(("halted", "left"), [(True, []), (False, ["a liquidation is under way"])])
def test_a_liquidation_may_wait_for_an_order_whose_market_is_closed(
    halted: bool,  # noqa: FBT001 - a column of the table
    left: list[str],
) -> None:
    found: list[str] = []

    async def story(world: World) -> None:
        contract_id = world.venue.contract_ids["MES"]
        bid, tick = world.venue.touch(contract_id)
        rests = PlaceBody(
            account_id=ACCOUNT_ID,
            contract_id=contract_id,
            type=WireOrderType.LIMIT,
            side=0,
            size=1,
            limit_price=bid - 100 * tick,
        )
        world.venue.exchange.place_by_others(rests)
        await asyncio.sleep(LEGS_S)
        await guard_of(world).liquidate(reason="enough", operator="storm operator")
        world.venue.halt(contract_id, halted=halted)
        found.extend(world.differences())

    play(story)
    assert found == left


# -- what is traded after the program was stopped --------------------------------------------------


def sell_by_hand(world: World, contract_id: str) -> None:
    world.venue.exchange.place_manual(
        ACCOUNT_ID, contract_id, type=WireOrderType.MARKET, side=1, size=1
    )


@pytest.mark.parametrize("told", [True, False], ids=["the venue tells", "the venue keeps it back"])
def test_what_is_traded_after_a_stop_is_written_down_by_the_next_start(*, told: bool) -> None:
    async def story(world: World) -> None:
        contract_id, _ = await buy_with_a_stop(world)
        await asyncio.sleep(TOLD_S)
        (trade,) = world.truth.trades.values()

        def traded() -> None:
            if told:
                sell_by_hand(world, contract_id)
            else:
                world.truth.trades[UNTOLD] = replace(trade, id=UNTOLD)

        assert world.host.process is not None
        world.host.process.at_death.append(traded)
        await come_to_rest(world)
        assert (world.host.starts, world.unsettled) == (2, ())
        await world.host.stop()
        assert len(world.truth.trades) == 2
        lost = f"fill {UNTOLD}: true ({trade.order_id}, 1), written None"
        expected = [] if told else [lost]
        assert record_faults(world.state_folder, ACCOUNT_ID, world.truth) == expected

    assert rules(play(story)) == []


def test_who_traded_nothing_after_a_stop_is_not_started_again() -> None:
    async def story(world: World) -> None:
        await come_to_rest(world)
        assert (world.host.starts, world.unsettled) == (1, ())
        assert world.host.guard is None

    play(story)


# -- a guard that falls ----------------------------------------------------------------------------


def test_a_guard_that_ends_by_a_mistake_of_its_own_is_noticed() -> None:
    mistake = Mutation(
        name="fall over at the first audit",
        weather=Weather.CALM,
        module="core.account_reads",
        old="    clock.due_ns = work.now_ns + AUDIT_INTERVAL_NS\n",
        new="    raise RuntimeError('a mistake')\n",
    )

    async def story(_world: World) -> None:
        """Nothing more is needed."""

    with planted(mistake):
        world = play(story)
    assert set(rules(world)) == {"the guard does not fall"}


# -- bots behind the gateway -----------------------------------------------------------------------


def test_a_bot_may_send_an_order_again_that_came_too_often_and_never_one_it_gave_up() -> None:
    broken: list[str] = []
    judge = BotsJudge(
        Truth(lambda: 0.0),
        bots=frozenset({"alpha"}),
        broke=lambda rule, _text: broken.append(rule),
        keeps_order=True,
    )
    sent = PlaceBody(
        account_id=1, contract_id="MES", type=WireOrderType.MARKET, side=0, size=1,
        limit_price=Decimal(1), custom_tag="bs-1",
    )  # fmt: skip
    judge.sends("a-1")
    judge.answered("a-1", Told(status=429))
    judge.sends("a-1")
    judge.intended("a-1", "bs-1", "alpha")
    judge.on_place(sent)
    assert broken == []

    judge.sends("a-2")
    judge.answered("a-2", Told(status=429))
    judge.intended("a-2", "bs-2", "alpha")
    judge.on_place(replace(sent, custom_tag="bs-2"))
    assert broken == ["no means no"]


# -- what turns a position around ------------------------------------------------------------------


@pytest.mark.parametrize(("overfilled", "broken"), [(True, []), (False, ["never flipped"])])
def test_what_the_venue_fills_beyond_a_close_is_no_second_close(
    *, overfilled: bool, broken: list[str]
) -> None:
    async def story(world: World) -> None:
        scene: Scene = world.safety.scene
        exchange, contract_id = world.venue.exchange, world.venue.contract_ids["MES"]
        rule, trades = FlipRules(scene), asyncio.Queue[int]()

        def on_trade(trade: TradeRow, before: int) -> None:
            after = before + sign(trade.side) * trade.size
            row = world.truth.orders[trade.order_id]
            rule.on_trade(row, contract_id, before=before, after=after)
            trades.put_nowait(trade.order_id)

        async def sell() -> int:
            """As a close does: a market order without a tag."""
            exchange.place_manual(
                ACCOUNT_ID, contract_id, type=WireOrderType.MARKET, side=1, size=1
            )
            return await asyncio.wait_for(trades.get(), 1.0)

        world.truth.on_trade = on_trade
        exchange.place_manual(ACCOUNT_ID, contract_id, type=WireOrderType.MARKET, side=0, size=2)
        await asyncio.wait_for(trades.get(), 1.0)
        first, _ = await sell(), await sell()
        if overfilled:
            exchange.overfill(first, 1)
        else:
            await sell()

    assert rules(play(story)) == broken
