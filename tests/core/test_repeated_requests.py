"""What gets no clear answer is asked again ever more slowly, after the reads that would tell."""

from decimal import Decimal
from itertools import pairwise

import pytest
from msgspec.structs import replace
from tests.core.builders import ACCOUNT, MES, Guard, a_policy
from tests.core.protection_world import Request, World

from backstop.core.book import AUDIT_INTERVAL_NS, AUDIT_STALE_NS
from backstop.core.call_budget import (
    ACTS_BASE,
    ACTS_PER_POSITION,
    READS_KEPT,
    REPEATS_KEPT,
    RESERVE_MAX,
    calls_kept,
    reads_are_urgent,
)
from backstop.core.evidence import LOOKS_FIRST
from backstop.core.leftovers import ASK_AGAIN_NS
from backstop.core.order_moves import LATE_NS
from backstop.core.policy import MILLISECOND_NS
from backstop.core.positions import SNAPSHOT_LAG_NS
from backstop.core.protection_record import Change
from backstop.core.repeated_requests import CANCEL_PAUSE_MAX_NS, TIMES_MAX, TRY_AGAIN_NS, marked
from backstop.domain.broker import BrokerStatus
from backstop.domain.call_purpose import CallPurpose
from backstop.domain.commands import (
    AuditAccount,
    CancelOrder,
    ClosePosition,
    Command,
    LookUpOrder,
    ModifyOrder,
)
from backstop.domain.events import Answer, CancelAnswered, CancelRequested, ModifyAnswered
from backstop.domain.order import OrderState, OrderType, Side

STOP = 100
TRIES = 9
READS_BEGIN = ACTS_BASE + ACTS_PER_POSITION  # kept from urgent reads with one position held


def a_guard() -> Guard:
    """Return a guard that knows of a stop of somebody else."""
    guard = Guard(policy=a_policy(protects=True)).start()
    guard.trade(quantity=2, broker_order_id=77)
    guard.position_row(2)
    stop = {"type": OrderType.STOP, "side": Side.SELL, "stop_price": Decimal(4990)}
    guard.row(broker_order_id=STOP, **stop)
    return guard


def answer(guard: Guard, said: Answer, *, cancel: bool) -> int:
    """Answer a request about the stop; returns the pause until the next one, in ns."""
    asked = Change(contract_id=MES, quantity=0 if cancel else 1, asked_ns=guard.now_ns)
    guard.book.protection.changes[STOP] = asked
    kind = CancelAnswered if cancel else ModifyAnswered
    guard.feed(kind(utc_us=guard.utc_us, broker_order_id=STOP, answer=said))
    return guard.book.protection.changes[STOP].asked_ns + ASK_AGAIN_NS - guard.now_ns


def held(quantity: int = 3) -> World:
    """Return a world long with a stop."""
    world = World().start()
    world.enter(quantity=quantity, stop=4990)
    world.wait(500)
    return world


def unanswered(kind: type[Command]) -> World:
    """Return a world in which no request of ``kind`` that the guard makes is answered."""
    world = held()
    lost = Request(answered=False, arrives=False)
    world.request = lambda it: lost if isinstance(it, kind) else Request()
    return world


# -- the pauses ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "cancel", "first_ns", "most_ns"),
    [
        (Answer.NOT_SENT, False, TRY_AGAIN_NS, ASK_AGAIN_NS),
        (Answer.UNKNOWN, False, TRY_AGAIN_NS, ASK_AGAIN_NS),
        (Answer.NOT_SENT, True, TRY_AGAIN_NS, ASK_AGAIN_NS),
        (Answer.UNKNOWN, True, ASK_AGAIN_NS, CANCEL_PAUSE_MAX_NS),
    ],
)
def test_each_request_without_a_clear_answer_is_made_again_more_slowly(
    said: Answer, *, cancel: bool, first_ns: int, most_ns: int
) -> None:
    guard = a_guard()

    pauses = [answer(guard, said, cancel=cancel) for _ in range(TRIES)]

    assert pauses[0] == first_ns
    assert pauses[1:] == [min(2 * before, most_ns) for before in pauses[:-1]]
    assert pauses[-1] == most_ns
    for _ in range(TIMES_MAX):
        answer(guard, said, cancel=cancel)
    assert guard.book.unclear[STOP].times == TIMES_MAX, "days of it make no huge numbers"


def test_a_size_that_is_asked_for_anew_goes_on_where_the_last_one_stopped() -> None:
    """It is cut anew each time; what was asked before is remembered by the order all the same."""
    world = unanswered(ModifyOrder)
    world.exit(1)
    world.wait(20_000)

    assert 5 <= len(world.sent_of(ModifyOrder)) <= 20, "one each 2 s at last, not ten a second"
    assert world.cover() >= world.position() == 2


def test_a_level_that_is_asked_for_anew_is_asked_more_slowly_too() -> None:
    world = unanswered(ModifyOrder)
    world.protect(stop=4995)
    world.wait(20_000)

    assert 5 <= len(world.sent_of(ModifyOrder)) <= 20


@pytest.mark.parametrize("end", ["answer", "effect", "end", "restart"])
def test_the_pauses_begin_anew_with_an_answer_the_effect_or_another_process(end: str) -> None:
    guard = a_guard()
    for _ in range(4):
        answer(guard, Answer.UNKNOWN, cancel=False)
    stop = {"type": OrderType.STOP, "side": Side.SELL, "stop_price": Decimal(4990)}
    match end:
        case "answer":
            answer(guard, Answer.YES, cancel=False)
        case "effect":
            guard.row(broker_order_id=STOP, quantity=1, updated_utc_us=guard.utc_us, **stop)
        case "end":
            gone = {"status": BrokerStatus.CANCELLED, "updated_utc_us": guard.utc_us}
            guard.row(broker_order_id=STOP, **gone, **stop)
        case _:
            guard.start()

    assert STOP not in guard.book.unclear


@pytest.mark.parametrize("said", [Answer.YES, Answer.NO])
@pytest.mark.parametrize("cancel", [False, True])
def test_after_a_clear_answer_the_first_pause_is_the_first_one_again(
    said: Answer, *, cancel: bool
) -> None:
    guard = a_guard()
    first = answer(guard, Answer.UNKNOWN, cancel=cancel)
    for _ in range(TRIES):
        answer(guard, Answer.UNKNOWN, cancel=cancel)
    kind = CancelAnswered if cancel else ModifyAnswered
    guard.feed(kind(utc_us=guard.utc_us, broker_order_id=STOP, answer=said))

    assert STOP not in guard.book.unclear
    assert answer(guard, Answer.UNKNOWN, cancel=cancel) == first


def test_each_order_has_pauses_of_its_own() -> None:
    guard, other = a_guard(), STOP + 1
    guard.row(broker_order_id=other, type=OrderType.LIMIT, limit_price=Decimal(4000))

    def other_answered(said: Answer) -> None:
        guard.feed(CancelAnswered(utc_us=guard.utc_us, broker_order_id=other, answer=said))

    for _ in range(TRIES):
        other_answered(Answer.UNKNOWN)
    assert answer(guard, Answer.UNKNOWN, cancel=False) == TRY_AGAIN_NS
    other_answered(Answer.YES)
    assert list(guard.book.unclear) == [STOP], "a clear answer about one says nothing of the other"
    assert answer(guard, Answer.UNKNOWN, cancel=False) == 2 * TRY_AGAIN_NS


def test_nothing_is_asked_again_before_its_pause_is_over() -> None:
    """The first pause is short, and it is one."""
    world = unanswered(ModifyOrder)
    world.exit(1)
    asked_ns: list[int] = []
    for _ in range(5_000):
        before = len(world.sent_of(ModifyOrder))
        world.wait(1)
        asked_ns += [world.guard.now_ns] * (len(world.sent_of(ModifyOrder)) - before)
    pauses_ns = [later - earlier for earlier, later in pairwise(asked_ns)]

    assert len(pauses_ns) >= 4
    for doublings, pause_ns in enumerate(pauses_ns):
        assert pause_ns >= min(TRY_AGAIN_NS << doublings, ASK_AGAIN_NS)


def test_a_request_that_never_left_after_one_that_may_have_arrived_is_still_a_repeat() -> None:
    guard = a_guard()
    answer(guard, Answer.UNKNOWN, cancel=False)
    answer(guard, Answer.NOT_SENT, cancel=False)
    cut = ModifyOrder(account_id=ACCOUNT, broker_order_id=STOP, quantity=1)

    assert marked(guard.book, (cut,)) == (replace(cut, repeats=True),)


def test_what_was_never_asked_before_is_no_repeat() -> None:
    guard = a_guard()
    cut = ModifyOrder(account_id=ACCOUNT, broker_order_id=STOP, quantity=1)

    assert marked(guard.book, (cut,)) == (cut,)


def test_an_order_of_ours_takes_its_count_along_when_it_ends() -> None:
    guard = Guard().start()
    guard.working(type=OrderType.LIMIT, limit_price=Decimal(4990))
    guard.feed(ModifyAnswered(utc_us=guard.utc_us, broker_order_id=100, answer=Answer.UNKNOWN))
    guard.row(status=BrokerStatus.OPEN, type=OrderType.LIMIT)
    guard.feed(ModifyAnswered(utc_us=guard.utc_us, broker_order_id=100, answer=Answer.UNKNOWN))
    assert list(guard.book.unclear) == [100]
    guard.row(status=BrokerStatus.CANCELLED, type=OrderType.LIMIT)
    assert guard.book.unclear == {}

    late = CancelAnswered(utc_us=guard.utc_us, broker_order_id=100, answer=Answer.UNKNOWN)
    guard.feed(late)
    assert guard.book.unclear == {}, "an answer that comes after the end keeps no read urgent"


def test_an_order_that_its_answer_alone_tells_of_is_counted_too() -> None:
    """Its cancels may have arrived as well: they leave calls to the reads that will show it."""
    guard = Guard().start()
    guard.working(type=OrderType.LIMIT, limit_price=Decimal(4990))
    guard.feed(CancelRequested(utc_us=guard.utc_us, client_order_id="c1", reason="enough"))
    for _ in range(2):
        lost = CancelAnswered(utc_us=guard.utc_us, broker_order_id=100, answer=Answer.UNKNOWN)
        guard.feed(lost)
        guard.timer(after_ms=CANCEL_PAUSE_MAX_NS // MILLISECOND_NS)

    assert [it.repeats for it in guard.commands_of(CancelOrder)] == [False, True, True]
    guard.row(status=BrokerStatus.CANCELLED, type=OrderType.LIMIT)
    assert guard.book.unclear == {}


@pytest.mark.parametrize(
    ("listed", "late_ms", "over"), [(True, 0, True), (True, -1, False), (False, 0, False)]
)
def test_an_order_that_a_late_read_still_lists_was_not_changed_by_what_was_asked(
    listed: bool,  # noqa: FBT001 - a parameter of the case
    late_ms: int,
    *,
    over: bool,
) -> None:
    """A bot asks once, and nobody asks again: its answer must not keep reads urgent all day."""
    guard = a_guard()
    answer(guard, Answer.UNKNOWN, cancel=True)
    stop = guard.book.venue_orders[STOP].row
    assert reads_are_urgent(guard.book)
    guard.now_ns += LATE_NS + late_ms * MILLISECOND_NS
    guard.audit(
        after_ms=0, sent_ns=guard.now_ns, live_orders=(stop,) if listed else (), positions=None
    )

    assert (STOP not in guard.book.unclear) is over


def cancel_of_stop(guard: Guard) -> CancelOrder:
    """Return a cancel of the stop as the guard would send it now."""
    cancel = CancelOrder(account_id=ACCOUNT, broker_order_id=STOP, reason="test")
    marked_cancel = marked(guard.book, (cancel,))[0]
    assert isinstance(marked_cancel, CancelOrder)
    return marked_cancel


@pytest.mark.parametrize(
    ("listed", "late_ms", "repeats"), [(True, 0, False), (True, -1, True), (False, 0, True)]
)
def test_what_a_read_shows_untouched_since_is_as_urgent_to_cancel_as_at_first(
    listed: bool,  # noqa: FBT001 - a parameter of the case
    late_ms: int,
    *,
    repeats: bool,
) -> None:
    """That read has ended nothing: to wait behind the next ones would be to wait for ever."""
    guard = a_guard()
    answer(guard, Answer.UNKNOWN, cancel=True)
    stop = guard.book.venue_orders[STOP].row
    guard.now_ns += SNAPSHOT_LAG_NS + late_ms * MILLISECOND_NS
    guard.audit(
        after_ms=0, sent_ns=guard.now_ns, live_orders=(stop,) if listed else (), positions=None
    )

    assert cancel_of_stop(guard).repeats is repeats


@pytest.mark.parametrize(("said", "repeats"), [(Answer.NOT_SENT, False), (Answer.UNKNOWN, True)])
def test_each_such_read_lets_one_request_through_that_may_arrive(
    said: Answer, *, repeats: bool
) -> None:
    guard = a_guard()
    answer(guard, Answer.UNKNOWN, cancel=True)
    stop = guard.book.venue_orders[STOP].row
    guard.now_ns += SNAPSHOT_LAG_NS
    guard.audit(after_ms=0, sent_ns=guard.now_ns, live_orders=(stop,), positions=None)

    answer(guard, said, cancel=True)

    assert cancel_of_stop(guard).repeats is repeats


def test_what_never_left_puts_off_nothing_that_a_read_says_of_what_did() -> None:
    """While no call is left, each try ends that way, every two seconds."""
    guard = a_guard()
    answer(guard, Answer.UNKNOWN, cancel=True)
    stop = guard.book.venue_orders[STOP].row
    guard.now_ns += LATE_NS
    answer(guard, Answer.NOT_SENT, cancel=True)
    guard.audit(after_ms=0, sent_ns=guard.now_ns, live_orders=(stop,), positions=None)

    assert STOP not in guard.book.unclear


def test_what_is_said_of_an_order_that_is_gone_is_not_kept() -> None:
    guard = Guard().start()
    guard.feed(CancelAnswered(utc_us=guard.utc_us, broker_order_id=5, answer=Answer.UNKNOWN))

    assert guard.book.unclear == {}


# -- who goes first ------------------------------------------------------------------------------


@pytest.mark.parametrize(("said", "repeats"), [(Answer.UNKNOWN, True), (Answer.NOT_SENT, False)])
def test_only_what_may_have_arrived_before_is_asked_as_a_repeat(
    said: Answer, *, repeats: bool
) -> None:
    """What never left is as urgent as it was, and a liquidation may use every call."""
    guard = a_guard()
    cut = ModifyOrder(account_id=ACCOUNT, broker_order_id=STOP, quantity=1)
    cancel = CancelOrder(account_id=ACCOUNT, broker_order_id=STOP, reason="test")
    others = (
        CancelOrder(account_id=ACCOUNT, broker_order_id=STOP, reason="test", reduces_risk=True),
        CancelOrder(account_id=ACCOUNT, broker_order_id=STOP + 1, reason="test"),
        ClosePosition(account_id=ACCOUNT, contract_id=MES, reason="test"),
    )
    answer(guard, said, cancel=False)
    answer(guard, said, cancel=True)

    assert marked(guard.book, (cut, cancel, *others)) == (
        replace(cut, repeats=repeats),
        replace(cancel, repeats=repeats),
        *others,
    )


def test_the_guard_says_itself_what_it_asks_again() -> None:
    world = held()
    fates = [Request(answered=False, arrives=False)]
    world.request = lambda it: fates.pop() if fates and isinstance(it, ModifyOrder) else Request()
    world.exit(1)
    world.wait(4_000)

    assert [it.repeats for it in world.sent_of(ModifyOrder)] == [False, True]


def test_an_order_is_searched_a_few_times_at_once_and_then_after_the_reads_of_the_account() -> None:
    world = held()
    world.request = lambda _: Request(answered=False, arrives=False)
    name = world.enter(quantity=1, stop=4990)
    world.wait(12_000)

    assert world.book.orders[name].state is OrderState.UNKNOWN
    searches = [it for it in world.sent_of(LookUpOrder) if it.client_order_id == name]
    assert len(searches) > LOOKS_FIRST + 1
    # The first look was taken while it still counted as sent, the others since its fate is unknown.
    assert [it.repeats for it in searches] == [at > LOOKS_FIRST for at in range(len(searches))]


def test_what_is_repeated_leaves_the_calls_of_reads_and_reads_those_of_acts() -> None:
    guard = a_guard()
    answer(guard, Answer.UNKNOWN, cancel=True)

    assert [calls_kept(guard.book, it, now_ns=guard.now_ns) for it in CallPurpose] == [
        0,
        READS_BEGIN,
        READS_BEGIN + READS_KEPT,
        READS_BEGIN + READS_KEPT + REPEATS_KEPT,
    ]


@pytest.mark.parametrize("orders", [0, RESERVE_MAX])
@pytest.mark.parametrize("unclear", [False, True])
def test_calls_are_granted_by_what_they_are_for_however_much_is_held(
    *, unclear: bool, orders: int
) -> None:
    guard = a_guard()
    for number in range(orders):
        guard.row(broker_order_id=300 + number)
    if unclear:
        answer(guard, Answer.UNKNOWN, cancel=True)

    kept = [calls_kept(guard.book, it, now_ns=guard.now_ns) for it in CallPurpose]

    assert kept == sorted(set(kept)), "each purpose leaves more than the one before it"
    assert kept[-1] <= RESERVE_MAX


def test_an_account_that_nobody_has_read_of_late_is_read_urgently() -> None:
    """What came about unheard may be naked; after a 429 ordinary reads wait for a minute."""
    world = World().start()
    first = world.sent_of(AuditAccount)[0]
    assert first.urgent, "at a start nobody knows the account"
    world.wait(10_000)
    assert not world.sent_of(AuditAccount)[-1].urgent

    world.reads_fail = True
    world.wait((AUDIT_STALE_NS + 2 * AUDIT_INTERVAL_NS) // MILLISECOND_NS)
    assert world.sent_of(AuditAccount)[-1].urgent

    world.reads_fail = False
    world.wait(2 * AUDIT_INTERVAL_NS // MILLISECOND_NS)
    assert not world.sent_of(AuditAccount)[-1].urgent


def test_the_account_is_read_urgently_while_a_request_is_without_a_clear_answer() -> None:
    world = unanswered(ModifyOrder)
    before = world.sent_of(AuditAccount)[-1]
    world.exit(1)
    world.wait(10_000)
    assert not before.urgent
    assert world.sent_of(AuditAccount)[-1].urgent

    world.request = lambda _: Request()
    world.wait(10_000)
    assert not world.sent_of(AuditAccount)[-1].urgent
