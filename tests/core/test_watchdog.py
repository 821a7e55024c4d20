"""The watchdog's verdicts, second by second, on clocks that the test moves."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstop.core.watch import Watch
from backstop.core.watch_facts import (
    SECOND_NS,
    Began,
    Died,
    Greeted,
    GuardArmed,
    GuardStops,
    Limits,
    LiquidationEnded,
    Looked,
    Moment,
    Phase,
    Pulsed,
    StopAsked,
    Verdict,
    WatchFact,
    limits_from_json,
)
from backstop.core.watchdog import step
from backstop.domain.heartbeat import Holdings

LOOK_S = 0.25
KILLED = Died(exit_code=-9)
ACTS = {
    Verdict.DUMP_STACKS,
    Verdict.KILL,
    Verdict.RESTART,
    Verdict.GIVE_UP_RESTARTING,
    Verdict.LIQUIDATE,
    Verdict.END,
}


@dataclass
class Kennel:
    """A watchdog on two clocks, and everything that it ordered with the second it did."""

    watch: Watch = field(default_factory=lambda: Watch(limits=Limits()))
    now_s: float = 1000.0
    slept_s: float = 0.0
    turns: int = 0
    holdings: Holdings = Holdings.OPEN
    ordered: list[tuple[float, Verdict]] = field(default_factory=list)
    reason: str = ""  # of the newest order

    def tell(self, fact: WatchFact) -> Verdict:
        awake_ns = round((self.now_s - self.slept_s) * SECOND_NS)
        moment = Moment(elapsed_ns=round(self.now_s * SECOND_NS), awake_ns=awake_ns)
        judged = step(self.watch, fact, moment)
        self.watch = judged.watch
        if judged.verdict in ACTS:
            self.ordered.append((self.now_s, judged.verdict))
            self.reason = judged.reason
        return judged.verdict

    def pulse(self, *, works: bool = True) -> Verdict:
        self.turns += works
        return self.tell(Pulsed(turns=self.turns, holdings=self.holdings))

    def silent(self, seconds: float) -> list[Verdict]:
        """Look four times a second; return what was ordered."""
        return self._pass(seconds, beating=False)

    def beating(self, seconds: float) -> list[Verdict]:
        return self._pass(seconds, beating=True)

    def _pass(self, seconds: float, *, beating: bool) -> list[Verdict]:
        before = len(self.ordered)
        for _ in range(round(seconds / LOOK_S)):
            self.now_s += LOOK_S
            if beating:
                self.pulse()
            self.tell(Looked())
        return [verdict for _, verdict in self.ordered[before:]]

    def sleep(self, seconds: float) -> None:
        """Suspend the machine."""
        self.now_s += seconds
        self.slept_s += seconds

    def stand_still(self, seconds: float) -> None:
        """Let nothing run although the machine is awake."""
        self.now_s += seconds


def a_kennel(*, holdings: Holdings = Holdings.OPEN, limits: Limits | None = None) -> Kennel:
    """Return a watch over a guard that has been sound for a while."""
    kennel = Kennel(watch=Watch(limits=limits or Limits()), holdings=holdings)
    kennel.tell(Began())
    kennel.tell(greeted())
    kennel.tell(GuardArmed())
    kennel.beating(10)
    assert kennel.tell(Looked()) is Verdict.WELL
    kennel.ordered.clear()
    return kennel


def greeted(*, holdings: Holdings = Holdings.NONE, after_s: float | None = 60) -> Greeted:
    after_ns = None if after_s is None else round(after_s * SECOND_NS)
    return Greeted(liquidate_after_ns=after_ns, holdings=holdings)


# -- pulses --------------------------------------------------------------------------------------


def test_a_guard_with_a_pulse_is_well() -> None:
    kennel = a_kennel()

    assert kennel.beating(600) == []
    assert kennel.pulse() is Verdict.WELL


def test_a_pause_of_400_ms_is_a_figure_and_nothing_else() -> None:
    kennel = a_kennel()

    kennel.now_s += 0.4
    assert kennel.pulse() is Verdict.WELL
    assert kennel.beating(5) == []
    assert kennel.watch.gap_ns_max == round(0.4 * SECOND_NS)


def test_starts_sleeps_and_silences_are_no_pauses_between_pulses() -> None:
    kennel = Kennel()
    kennel.tell(Began())
    kennel.silent(5)
    kennel.beating(5)
    kennel.sleep(30)
    kennel.silent(2)
    kennel.beating(5)
    kennel.silent(5)
    kennel.beating(5)

    assert kennel.watch.gap_ns_max == round(LOOK_S * SECOND_NS)


def test_silence_is_answered_with_a_dump_at_2_s_and_a_kill_at_10_s_once_each() -> None:
    kennel = a_kennel()
    began_s = kennel.now_s

    assert kennel.silent(12) == [Verdict.DUMP_STACKS, Verdict.KILL]
    assert [round(at_s - began_s, 2) for at_s, _ in kennel.ordered] == [2, 10]
    assert kennel.watch.freezes == 1


def test_the_reason_of_a_kill_says_frozen() -> None:
    kennel = a_kennel()
    kennel.silent(10)

    assert "FROZEN" in kennel.reason


def test_pulses_without_new_work_are_silence() -> None:
    """A helper thread can send what it likes: it cannot do the loop's work."""
    kennel = a_kennel()
    for _ in range(48):
        kennel.now_s += LOOK_S
        kennel.pulse(works=False)

    assert [verdict for _, verdict in kennel.ordered] == [Verdict.DUMP_STACKS, Verdict.KILL]


def test_a_guard_that_comes_round_after_its_dump_is_left_alive() -> None:
    kennel = a_kennel()
    kennel.silent(5)

    assert kennel.beating(60) == []
    assert kennel.watch.phase is Phase.RUNNING
    assert kennel.watch.outage_since_ns is None


def test_each_silence_is_dumped_anew() -> None:
    kennel = a_kennel()
    kennel.silent(3)
    kennel.beating(1)

    assert kennel.silent(3) == [Verdict.DUMP_STACKS]


# -- deaths and starts ---------------------------------------------------------------------------


def test_a_death_is_answered_with_a_restart_at_once() -> None:
    kennel = a_kennel()

    assert kennel.tell(KILLED) is Verdict.RESTART
    assert "signal 9" in kennel.reason
    assert kennel.watch.restarts == 1


def test_a_restart_is_ordered_once() -> None:
    kennel = a_kennel()
    kennel.tell(KILLED)

    assert kennel.silent(1) == []


@pytest.mark.parametrize(
    ("exit_code", "words"),
    [(1, "exit code 1"), (-11, "signal 11"), (None, "died"), (2, "exit code 2")],
)
def test_every_end_that_nobody_asked_for_is_a_death(exit_code: int | None, words: str) -> None:
    kennel = a_kennel()

    assert kennel.tell(Died(exit_code=exit_code)) is Verdict.RESTART
    assert words in kennel.reason


def test_a_clean_end_ends_the_watch() -> None:
    kennel = a_kennel(holdings=Holdings.NONE)

    assert kennel.tell(Died(exit_code=0)) is Verdict.END
    assert kennel.watch.exit_code == 0
    assert kennel.silent(600) == []


def test_a_guard_that_cannot_begin_at_first_is_not_started_again() -> None:
    kennel = Kennel()
    kennel.tell(Began())

    assert kennel.tell(Died(exit_code=2)) is Verdict.END
    assert kennel.watch.exit_code == 2


def test_a_guard_that_cannot_begin_after_one_that_could_is_tried_again() -> None:
    kennel = a_kennel()
    kennel.tell(KILLED)
    kennel.tell(Began())

    assert kennel.tell(Died(exit_code=2)) is Verdict.RESTART


def test_a_start_has_a_minute_and_its_stacks_are_asked_for_before() -> None:
    kennel = Kennel()
    kennel.tell(Began())
    kennel.tell(greeted())
    began_s = kennel.now_s

    assert kennel.silent(70) == [Verdict.DUMP_STACKS, Verdict.KILL]
    assert [at_s - began_s for at_s, _ in kennel.ordered] == [5, 60]


def test_a_process_that_has_not_greeted_is_not_asked_for_its_stacks() -> None:
    """The signal for it ends a process that does not know it yet."""
    kennel = a_kennel()
    kennel.tell(KILLED)
    kennel.tell(Began())

    assert kennel.silent(59) == []


def test_an_adopted_guard_is_judged_like_one_of_ours() -> None:
    kennel = Kennel()
    kennel.tell(Began(adopted=True))

    assert kennel.silent(11) == [Verdict.DUMP_STACKS, Verdict.KILL]
    assert kennel.tell(Died(exit_code=2)) is Verdict.RESTART


# -- crash loops ---------------------------------------------------------------------------------


def crash(kennel: Kennel) -> Verdict:
    """Let the next guard begin and die at once."""
    kennel.tell(Began())
    kennel.now_s += 0.5
    return kennel.tell(KILLED)


def test_the_fifth_death_within_a_minute_is_followed_by_a_pause_and_told() -> None:
    kennel = a_kennel(holdings=Holdings.NONE)

    assert [crash(kennel) for _ in range(5)] == [Verdict.RESTART] * 4 + [Verdict.GIVE_UP_RESTARTING]
    assert "5.0 s" in kennel.reason
    assert kennel.silent(4.75) == []
    assert kennel.silent(0.25) == [Verdict.RESTART]


def test_pauses_grow_and_the_watchdog_never_stops_trying() -> None:
    kennel = a_kennel(holdings=Holdings.NONE)
    for _ in range(4):
        crash(kennel)
    waited_s = []
    for _ in range(7):
        assert crash(kennel) is Verdict.GIVE_UP_RESTARTING
        died_s = kennel.now_s
        while kennel.ordered[-1][1] is not Verdict.RESTART:
            kennel.silent(LOOK_S)
        waited_s.append(kennel.now_s - died_s)

    assert waited_s == [5, 10, 20, 40, 60, 60, 60]


def test_deaths_far_apart_are_no_crash_loop() -> None:
    kennel = a_kennel()
    for _ in range(20):
        kennel.beating(20)
        assert kennel.tell(KILLED) is Verdict.RESTART
        kennel.tell(Began())


def test_a_guard_that_was_sound_for_a_minute_has_made_up_for_its_crashes() -> None:
    kennel = a_kennel(holdings=Holdings.NONE)
    for _ in range(5):
        crash(kennel)
    kennel.silent(5)
    kennel.tell(Began())
    kennel.beating(61)

    assert kennel.tell(KILLED) is Verdict.RESTART


# -- liquidation ---------------------------------------------------------------------------------


def an_outage(kennel: Kennel, seconds: float) -> list[Verdict]:
    """Let guards die again and again for ``seconds``; return what was ordered at last."""
    before, end_s = len(kennel.ordered), kennel.now_s + seconds
    kennel.tell(KILLED)
    while kennel.now_s < end_s and kennel.watch.phase is not Phase.LIQUIDATING:
        if kennel.ordered[-1][1] is Verdict.RESTART:
            kennel.tell(Began())
            kennel.now_s += LOOK_S
            kennel.tell(KILLED)
        else:
            kennel.silent(LOOK_S)
    return [verdict for _, verdict in kennel.ordered[before:]]


@pytest.mark.parametrize("holdings", [Holdings.OPEN, Holdings.UNKNOWN])
def test_open_positions_without_a_guard_are_liquidated_at_the_threshold(holdings: Holdings) -> None:
    kennel = a_kennel(holdings=holdings)
    died_s = kennel.now_s

    assert an_outage(kennel, 90)[-1] is Verdict.LIQUIDATE
    assert kennel.ordered[-1][0] - died_s == pytest.approx(60, abs=1)
    assert "no sound guard for 60." in kennel.reason


def test_without_positions_there_is_nothing_to_liquidate() -> None:
    kennel = a_kennel(holdings=Holdings.NONE)

    assert Verdict.LIQUIDATE not in an_outage(kennel, 600)


def test_the_threshold_is_the_setting_of_the_guard() -> None:
    kennel = a_kennel()
    kennel.tell(greeted(after_s=12))
    died_s = kennel.now_s

    assert an_outage(kennel, 90)[-1] is Verdict.LIQUIDATE
    assert kennel.ordered[-1][0] - died_s == pytest.approx(12, abs=1)


def test_with_recovery_switched_off_the_guard_comes_back_and_nothing_is_closed() -> None:
    """Neither after a crash, nor after a suspend that the guard lived through."""
    kennel = a_kennel()
    kennel.tell(greeted(after_s=None))

    ordered = an_outage(kennel, 600)
    assert Verdict.RESTART in ordered
    assert Verdict.LIQUIDATE not in ordered

    kennel = a_kennel()
    kennel.tell(greeted(after_s=None))
    kennel.sleep(3_600)
    assert kennel.beating(30) == []


def test_nothing_is_started_while_the_account_is_taken_flat() -> None:
    kennel = a_kennel()
    an_outage(kennel, 90)

    assert kennel.silent(120) == []
    assert kennel.tell(LiquidationEnded(flat=True)) is Verdict.RESTART


def test_an_account_that_was_taken_flat_is_not_liquidated_again() -> None:
    kennel = a_kennel()
    an_outage(kennel, 90)
    kennel.tell(LiquidationEnded(flat=True))

    assert Verdict.LIQUIDATE not in an_outage(kennel, 600)


def test_a_liquidation_that_did_not_end_flat_is_tried_again_with_growing_pauses() -> None:
    kennel = a_kennel()
    an_outage(kennel, 90)
    pauses_s = []
    for _ in range(5):
        ended_s = kennel.now_s
        assert kennel.tell(LiquidationEnded(flat=False)) is Verdict.RESTART
        assert an_outage(kennel, 300)[-1] is Verdict.LIQUIDATE
        pauses_s.append(kennel.now_s - ended_s)

    assert pauses_s == [15, 30, 60, 120, 120]


def test_a_few_pulses_do_not_end_an_outage() -> None:
    """A guard that dies after each second of work looks after nothing."""
    kennel = a_kennel()
    kennel.tell(KILLED)
    for _ in range(400):
        if kennel.watch.phase is Phase.LIQUIDATING:
            break
        if kennel.watch.phase is Phase.STARTING:
            kennel.tell(Began())
            kennel.beating(1)
            kennel.tell(KILLED)
        else:
            kennel.silent(LOOK_S)

    assert kennel.ordered[-1][1] is Verdict.LIQUIDATE


def test_a_guard_that_falls_silent_again_and_again_is_asked_to_liquidate_at_the_threshold() -> None:
    """It is never silent for long enough to be killed, and never sound: nobody can rely on it."""
    kennel = a_kennel()
    kennel.beating(5)
    begun_s = kennel.now_s
    while Verdict.LIQUIDATE not in [it for _, it in kennel.ordered] and kennel.now_s < 2_000:
        kennel.silent(2.5)
        kennel.beating(0.5)

    assert {it for _, it in kennel.ordered} == {Verdict.DUMP_STACKS, Verdict.LIQUIDATE}
    asked_s = kennel.ordered[-1][0]
    assert 60 <= asked_s - begun_s <= 65
    kennel.tell(LiquidationEnded(flat=True))
    kennel.holdings = Holdings.NONE
    before = len(kennel.ordered)
    for _ in range(50):
        kennel.silent(2.5)
        kennel.beating(0.5)
    assert {it for _, it in kennel.ordered[before:]} == {Verdict.DUMP_STACKS}


def test_three_seconds_of_pulse_end_an_outage() -> None:
    kennel = a_kennel()
    kennel.tell(KILLED)
    kennel.tell(Began())
    kennel.silent(50)
    kennel.beating(2.75)

    assert kennel.tell(Looked()) is Verdict.WAIT
    assert kennel.beating(60) == []
    assert kennel.pulse() is Verdict.WELL


def test_a_guard_that_comes_back_too_late_is_asked_to_liquidate() -> None:
    """It lives, so it is the one who acts; the watchdog only says so."""
    kennel = a_kennel()
    kennel.tell(greeted(after_s=5))
    kennel.tell(KILLED)
    kennel.tell(Began())
    kennel.silent(6)

    assert kennel.beating(4) == [Verdict.LIQUIDATE]
    assert kennel.watch.phase is Phase.RUNNING
    assert kennel.tell(LiquidationEnded(flat=True)) is Verdict.WAIT
    assert kennel.beating(60) == []


def test_a_start_that_hangs_past_the_threshold_is_killed_like_a_freeze() -> None:
    kennel = a_kennel()
    kennel.tell(greeted(after_s=5))
    kennel.tell(KILLED)
    kennel.tell(Began())
    kennel.tell(greeted(after_s=5))

    assert kennel.silent(11) == [Verdict.DUMP_STACKS, Verdict.KILL]
    assert kennel.tell(KILLED) is Verdict.LIQUIDATE


def test_a_first_start_that_never_works_counts_from_its_beginning() -> None:
    kennel = Kennel()
    kennel.tell(Began())
    kennel.tell(greeted(holdings=Holdings.UNKNOWN))

    assert an_outage(kennel, 90)[-1] is Verdict.LIQUIDATE


def test_where_no_guard_ever_was_nothing_is_liquidated() -> None:
    kennel = Kennel()
    kennel.tell(Began())
    kennel.tell(greeted(holdings=Holdings.NONE))
    kennel.tell(KILLED)
    # The first guard made its record before it died; that alone means nothing.
    kennel.tell(greeted(holdings=Holdings.UNKNOWN))

    assert Verdict.LIQUIDATE not in an_outage(kennel, 600)


# -- suspend, and a watchdog that stood still -----------------------------------------------------


def test_a_short_sleep_of_the_machine_changes_nothing() -> None:
    kennel = a_kennel()
    kennel.sleep(30)

    assert kennel.silent(2.75) == []  # three seconds to come round, whatever the limits say
    assert kennel.beating(60) == []
    assert kennel.watch.suspends == 1


def test_a_guard_that_stays_silent_after_a_sleep_is_judged_from_the_waking_on() -> None:
    kennel = a_kennel()
    kennel.sleep(30)
    woke_s = kennel.now_s

    assert kennel.silent(11) == [Verdict.DUMP_STACKS, Verdict.KILL]
    assert [at_s - woke_s for at_s, _ in kennel.ordered] == [3.25, 10.25]


def test_a_sleep_over_the_threshold_is_downtime_and_the_guard_is_asked_to_liquidate() -> None:
    kennel = a_kennel()
    kennel.sleep(8 * 3600)

    assert kennel.beating(2.75) == []
    assert kennel.beating(1) == [Verdict.LIQUIDATE]
    assert "28800" in kennel.reason


def test_a_sleep_after_which_the_account_proves_flat_is_followed_by_nothing() -> None:
    kennel = a_kennel()
    kennel.sleep(8 * 3600)
    kennel.holdings = Holdings.NONE

    assert kennel.beating(10) == []


def test_a_sleep_while_there_is_no_guard_counts_as_well() -> None:
    kennel = a_kennel()
    for _ in range(5):
        crash(kennel)
    kennel.sleep(3600)

    assert kennel.silent(0.25) == [Verdict.LIQUIDATE]


def test_a_watchdog_that_stood_still_itself_does_not_blame_the_guard() -> None:
    kennel = a_kennel()
    kennel.stand_still(30)

    assert kennel.tell(Looked()) is Verdict.WELL
    assert kennel.beating(60) == []
    assert kennel.watch.suspends == 0
    assert kennel.watch.outage_since_ns is None


# -- the end -------------------------------------------------------------------------------------


@pytest.mark.parametrize("exit_code", [0, 1, -15, -9, None])
def test_a_guard_that_was_told_to_stop_is_not_missed(exit_code: int | None) -> None:
    kennel = a_kennel()
    kennel.tell(StopAsked())

    assert kennel.tell(Died(exit_code=exit_code)) is Verdict.END
    assert kennel.watch.exit_code == 0


@pytest.mark.parametrize("holdings", [Holdings.OPEN, Holdings.UNKNOWN])
@pytest.mark.parametrize("says", [True, False])
def test_a_guard_that_alone_was_told_to_stop_is_started_again_while_anything_may_be_open(
    holdings: Holdings, *, says: bool
) -> None:
    """Nobody told the watchdog: positions are not left to a person who may not know of it."""
    kennel = a_kennel(holdings=holdings)
    if says:
        kennel.tell(GuardStops())

    assert kennel.tell(Died(exit_code=0)) is Verdict.RESTART
    assert "its watchdog was not" in kennel.reason
    kennel.tell(Began())
    kennel.tell(greeted())
    assert kennel.beating(5) == []
    assert kennel.tell(Looked()) is Verdict.WELL


def test_a_guard_that_alone_was_told_to_stop_ends_the_watch_of_a_flat_account() -> None:
    kennel = a_kennel(holdings=Holdings.NONE)
    kennel.tell(GuardStops())

    assert kennel.tell(Died(exit_code=0)) is Verdict.END
    assert kennel.watch.exit_code == 0


@pytest.mark.parametrize("order", [(StopAsked(), GuardStops()), (GuardStops(), StopAsked())])
def test_a_stop_that_reaches_both_ends_both_whoever_hears_of_it_first(
    order: tuple[WatchFact, WatchFact],
) -> None:
    kennel = a_kennel()
    for fact in order:
        kennel.tell(fact)

    assert kennel.tell(Died(exit_code=0)) is Verdict.END


def test_a_stop_that_comes_after_the_guard_ended_ends_the_one_that_begins() -> None:
    """The signal of a whole group may reach the watchdog last."""
    kennel = a_kennel()
    kennel.tell(GuardStops())
    assert kennel.tell(Died(exit_code=0)) is Verdict.RESTART
    kennel.tell(Began())
    kennel.tell(StopAsked())

    assert kennel.tell(Died(exit_code=-15)) is Verdict.END


def test_a_guard_that_alone_was_told_to_stop_has_as_long_as_any_other() -> None:
    kennel = a_kennel()
    kennel.tell(GuardStops())

    assert kennel.silent(4) == []
    assert kennel.silent(1) == [Verdict.KILL]
    assert kennel.tell(Died(exit_code=-9)) is Verdict.RESTART


def test_a_guard_that_is_told_to_stop_again_and_again_is_started_with_pauses() -> None:
    kennel = a_kennel()
    for _ in range(4):
        assert kennel.tell(Died(exit_code=0)) is Verdict.RESTART
        kennel.tell(Began())

    assert kennel.tell(Died(exit_code=0)) is Verdict.GIVE_UP_RESTARTING


def test_a_guard_that_does_not_stop_is_killed_in_time() -> None:
    kennel = a_kennel()
    asked_s = kennel.now_s
    kennel.tell(StopAsked())

    assert kennel.silent(20) == [Verdict.KILL]
    assert kennel.ordered[-1][0] - asked_s == 4.5


def test_to_stop_while_no_guard_runs_ends_at_once() -> None:
    kennel = a_kennel(holdings=Holdings.NONE)
    for _ in range(5):
        crash(kennel)

    assert kennel.tell(StopAsked()) is Verdict.END


def test_to_stop_during_a_liquidation_ends_after_it() -> None:
    kennel = a_kennel()
    an_outage(kennel, 90)

    assert kennel.tell(StopAsked()) is Verdict.WAIT
    assert kennel.tell(LiquidationEnded(flat=False)) is Verdict.END


def test_last_words_after_the_death_change_nothing() -> None:
    kennel = a_kennel(holdings=Holdings.NONE)
    for _ in range(5):
        crash(kennel)
    kennel.pulse()

    assert kennel.watch.phase is Phase.DOWN


# -- whatever happens ----------------------------------------------------------------------------

FACTS = st.one_of(
    st.just(Began()),
    st.just(GuardArmed()),
    st.builds(
        Greeted,
        liquidate_after_ns=st.just(60 * SECOND_NS),
        holdings=st.sampled_from(Holdings),
    ),
    st.builds(Pulsed, turns=st.integers(0, 3), holdings=st.sampled_from(Holdings)),
    st.builds(Died, exit_code=st.sampled_from([None, 1, 2, -9])),
    st.builds(LiquidationEnded, flat=st.booleans()),
    st.just(Looked()),
)


@given(st.lists(st.tuples(FACTS, st.integers(0, 40), st.booleans()), max_size=60))
def test_only_a_dead_guard_is_replaced(history: list[tuple[WatchFact, int, bool]]) -> None:
    """A restart is ordered only while no process is there, and never two at a time."""
    kennel = Kennel()
    alive = wanted = False
    for fact, pause_s, asleep in history:
        kennel.now_s += pause_s
        kennel.slept_s += pause_s * asleep
        if isinstance(fact, Began) and (alive or not (wanted or kennel.watch.seen is None)):
            continue  # the world starts a guard only when it is told to
        if isinstance(fact, Died) and not alive:
            continue
        if isinstance(fact, LiquidationEnded) and kennel.watch.phase is not Phase.LIQUIDATING:
            continue
        alive = isinstance(fact, Began) or (alive and not isinstance(fact, Died))
        wanted = wanted and not isinstance(fact, Began)
        verdict = kennel.tell(fact)
        assert not (verdict is Verdict.RESTART and (alive or wanted))
        wanted = wanted or verdict is Verdict.RESTART
        assert verdict is not Verdict.KILL or alive
        if kennel.watch.phase is Phase.ENDED:
            return


# -- limits --------------------------------------------------------------------------------------


def test_limits_are_given_as_json_with_any_of_their_names() -> None:
    limits = limits_from_json('{"frozen_ns": 3, "pauses_ns": [1, 2]}')

    assert limits == Limits(frozen_ns=3, pauses_ns=(1, 2))
