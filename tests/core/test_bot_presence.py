"""Heartbeats in, verdicts out: who is silent, and whose silence nobody watched."""

from hypothesis import given
from hypothesis import strategies as st

from backstop.core.bot_presence import (
    RESTART_GRACE_NS,
    WAKE_GRACE_NS,
    BotPresence,
    BotVerdict,
    begun,
    begun_again,
    heard,
    looked,
)
from backstop.core.policy import MILLISECOND_NS, SECOND_NS
from backstop.domain.bot import BotPolicy, BotState, BotTerms

BEGIN_NS = 1_000 * SECOND_NS
LOOK_NS = 250 * MILLISECOND_NS
TERMS = BotTerms(policy=BotPolicy.FLATTEN, heartbeat_timeout_ms=5_000, flatten_after_ms=30_000)


def watched(presence: BotPresence, until_ns: int) -> tuple[BotPresence, list[tuple[int, str]]]:
    """Look steadily until ``until_ns``; gives the seconds after the begin and the verdicts."""
    verdicts = []
    while presence.seen_ns < until_ns:
        presence, verdict = looked(presence, min(presence.seen_ns + LOOK_NS, until_ns))
        if verdict is not BotVerdict.NOTHING:
            verdicts.append(((presence.seen_ns - BEGIN_NS) // SECOND_NS, str(verdict)))
    return presence, verdicts


def test_silence_leads_to_silent_and_then_to_given_up_each_once() -> None:
    _, verdicts = watched(begun(TERMS, BEGIN_NS), BEGIN_NS + 90 * SECOND_NS)

    assert verdicts == [(5, "SILENT"), (30, "GIVEN_UP")]


def test_without_a_time_to_flatten_silence_is_all() -> None:
    terms = BotTerms(policy=BotPolicy.STOP_ENTRIES, heartbeat_timeout_ms=5_000)
    _, verdicts = watched(begun(terms, BEGIN_NS), BEGIN_NS + 900 * SECOND_NS)

    assert verdicts == [(5, "SILENT")]


def test_a_heartbeat_brings_a_silent_bot_back_and_its_time_counts_anew() -> None:
    presence, _ = watched(begun(TERMS, BEGIN_NS), BEGIN_NS + 20 * SECOND_NS)
    presence, verdict = heard(presence, BEGIN_NS + 20 * SECOND_NS, None)
    assert (verdict, presence.state) == (BotVerdict.RETURNED, BotState.ALIVE)

    _, verdicts = watched(presence, BEGIN_NS + 40 * SECOND_NS)
    assert verdicts == [(25, "SILENT")]


def test_a_heartbeat_does_not_bring_back_who_was_given_up() -> None:
    presence, _ = watched(begun(TERMS, BEGIN_NS), BEGIN_NS + 31 * SECOND_NS)
    presence, verdict = heard(presence, presence.seen_ns, None)

    assert (verdict, presence.state) == (BotVerdict.NOTHING, BotState.GIVEN_UP)


def test_heartbeats_whose_work_stands_still_are_those_of_a_frozen_bot() -> None:
    presence = begun(TERMS, BEGIN_NS)
    verdicts = []
    for second in range(1, 9):
        now_ns = BEGIN_NS + second * SECOND_NS
        presence, found = watched(presence, now_ns)
        verdicts += found
        presence, _ = heard(presence, now_ns, min(second, 2))

    assert verdicts == [(7, "SILENT")]
    assert presence.beat_ns == BEGIN_NS + 8 * SECOND_NS
    presence, verdict = heard(presence, presence.seen_ns, 3)
    assert verdict is BotVerdict.RETURNED


def test_a_suspend_of_the_machine_is_no_silence_of_a_bot() -> None:
    presence, _ = watched(begun(TERMS, BEGIN_NS), BEGIN_NS + 4 * SECOND_NS)
    woke_ns = BEGIN_NS + 3_600 * SECOND_NS
    presence, verdict = looked(presence, woke_ns)
    assert verdict is BotVerdict.NOTHING

    presence, verdicts = watched(presence, woke_ns + WAKE_GRACE_NS - 1)
    assert verdicts == []
    _, verdicts = watched(presence, woke_ns + WAKE_GRACE_NS)
    assert [word for _, word in verdicts] == ["SILENT"]


def test_a_suspend_does_not_flatten_either() -> None:
    presence, _ = watched(begun(TERMS, BEGIN_NS), BEGIN_NS + 10 * SECOND_NS)
    woke_ns = BEGIN_NS + 3_600 * SECOND_NS
    presence, _ = looked(presence, woke_ns)

    presence, verdicts = watched(presence, woke_ns + 20 * SECOND_NS - 1)
    assert verdicts == []
    _, verdicts = watched(presence, woke_ns + 20 * SECOND_NS)
    assert [word for _, word in verdicts] == ["GIVEN_UP"]


def test_a_guard_that_stalls_again_and_again_still_finds_a_dead_bot() -> None:
    presence, verdicts = begun(TERMS, BEGIN_NS), []
    for _ in range(400):
        presence, verdict = looked(presence, presence.seen_ns + 2 * SECOND_NS)
        presence, verdict_soon = looked(presence, presence.seen_ns + SECOND_NS // 2)
        verdicts += [it for it in (verdict, verdict_soon) if it is not BotVerdict.NOTHING]

    assert verdicts == [BotVerdict.SILENT, BotVerdict.GIVEN_UP]


def test_after_a_start_of_the_guard_a_bot_has_its_grace() -> None:
    quick = BotTerms(policy=BotPolicy.FLATTEN, heartbeat_timeout_ms=1_000, flatten_after_ms=2_000)
    presence = begun_again(quick, BotState.ALIVE, BEGIN_NS)
    presence, verdicts = watched(presence, BEGIN_NS + RESTART_GRACE_NS - 1)
    assert verdicts == []

    presence, verdicts = watched(presence, BEGIN_NS + RESTART_GRACE_NS)
    assert [word for _, word in verdicts] == ["SILENT"]


def test_a_silent_bot_has_it_too_before_it_is_given_up() -> None:
    quick = BotTerms(policy=BotPolicy.FLATTEN, heartbeat_timeout_ms=1_000, flatten_after_ms=2_000)
    presence = begun_again(quick, BotState.SILENT, BEGIN_NS)
    presence, verdicts = watched(presence, BEGIN_NS + RESTART_GRACE_NS - 1)
    assert verdicts == []

    _, verdicts = watched(presence, BEGIN_NS + RESTART_GRACE_NS)
    assert [word for _, word in verdicts] == ["GIVEN_UP"]


@given(st.lists(st.integers(min_value=1, max_value=4_000), max_size=60))
def test_a_bot_that_beats_in_time_is_never_silent(pauses_ms: list[int]) -> None:
    presence = begun(TERMS, BEGIN_NS)
    for pause_ms in pauses_ms:
        presence, found = watched(presence, presence.seen_ns + pause_ms * MILLISECOND_NS)
        assert found == []
        presence, verdict = heard(presence, presence.seen_ns, None)
        assert verdict is BotVerdict.NOTHING
