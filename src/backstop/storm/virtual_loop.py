"""An event loop whose time is virtual: when nothing is ready, it is the time of the next timer.

Everything that happens is in one order, which depends on nothing but what was asked for. Whatever
runs belongs to a process of the simulation, named by the context that it runs in; a process that
is killed is never run again, not even its ``finally``, and one that is frozen runs when it thaws.
"""

import asyncio
import heapq
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from contextvars import Context, ContextVar, copy_context
from typing import Any, Final
from weakref import WeakSet

EPOCH_S: Final = 1_000.0
"""The loop's time at the beginning; that of a machine that was booted a quarter of an hour ago."""

SPUN_MAX: Final = 200_000
"""Turns in one moment of virtual time: more of them are a loop that never ends."""


CANCELLED_MAX: Final = 100
"""Cancelled timers that may lie among the others, as in the base class."""


class TimeStoodStillError(RuntimeError):
    """Something always had more to do before the next moment: it would never come."""


class Process:
    """One process of the simulation: what is killed, frozen and thawed as a whole.

    Attributes:
        name: for the trace.
        alive: it was not killed.
        runs: callbacks that it has run.
        asleep_s: how long its machine was suspended meanwhile; its loop does not count that.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.runs = 0
        self.asleep_s = 0.0
        self._frozen = False
        self._held: list[events.Handle] = []
        self._dies_after: int | None = None
        self.tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        self._remains: list[asyncio.Task[Any]] = []
        self.at_death: list[Callable[[], None]] = []  # sockets and locks: what a system takes back

    @property
    def frozen(self) -> bool:
        """It does not run, and does not know."""
        return self._frozen

    def kill(self) -> None:
        """End it as ``kill -9`` does: nothing of it runs any more."""
        if not self.alive:
            return
        self.alive = False
        self._held.clear()
        # Its coroutines must not be collected: that would run their ``finally``.
        self._remains.extend(self.tasks)
        for take_back in self.at_death:
            take_back()
        self.at_death.clear()

    def kill_after(self, runs: int) -> None:
        """Kill it when it has run ``runs`` more callbacks: between any two awaits."""
        self._dies_after = self.runs + runs

    def freeze(self) -> None:
        """Stop running it."""
        self._frozen = True

    def thaw(self, loop: "VirtualLoop") -> None:
        """Go on running it, with all that became due meanwhile."""
        self._frozen = False
        held, self._held = self._held, []
        loop.run_after_all(held)

    def bury(self) -> None:
        """Let go of what is left of it, at the end of the simulation."""
        for task in self._remains:
            task._log_destroy_pending = False  # type: ignore[attr-defined] # noqa: SLF001
        self._remains.clear()

    def may_run(self, handle: events.Handle) -> bool:
        """Say whether a callback may run now; keep it for later if the process is frozen."""
        if not self.alive:
            return False
        if self._frozen:
            self._held.append(handle)
            return False
        self.runs += 1
        if self._dies_after is not None and self.runs > self._dies_after:
            self.kill()
            return False
        return True


PROCESS: Final[ContextVar[Process | None]] = ContextVar("process", default=None)
"""The process that a context belongs to; None: the world around."""


def _new_task(
    loop: asyncio.AbstractEventLoop,
    coroutine: Coroutine[Any, Any, Any],
    context: Context | None = None,
    **options: Any,
) -> asyncio.Task[Any]:
    """Return a task that its process knows of."""
    task = asyncio.Task(coroutine, loop=loop, context=context, **options)
    process = PROCESS.get() if context is None else context.get(PROCESS)
    if process is not None:
        process.tasks.add(task)
    return task


def _never() -> bool:
    return False


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop of one simulation.

    Attributes:
        stopped: a person wants it to end; asked between callbacks, for what is raised inside one
            is theirs to catch, and some go on after anything.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stopped: Callable[[], bool] = _never
        self._now_s = EPOCH_S
        self._spun = 0
        self._timers = 0
        # When, which of those of one moment was asked for first, and the timer.
        self._due: list[tuple[float, int, events.TimerHandle]] = []
        self._cancelled = 0
        self.failures: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _loop, said: self.failures.append(said))
        self.set_task_factory(_new_task)  # type: ignore[arg-type]

    def time(self) -> float:
        """Return virtual seconds, without those that the caller's machine was suspended."""
        process = PROCESS.get()
        return self._now_s if process is None else self._now_s - process.asleep_s

    @property
    def now_s(self) -> float:
        """The time of the world: virtual seconds, whoever asks."""
        return self._now_s

    # -- turns -----------------------------------------------------------------------------------

    def _run_once(self) -> None:
        """Run what is ready, or else what is due next: it is that time then.

        Stands in for the method of the base class, which asks the system what it waits for.

        Raises:
            KeyboardInterrupt: a person wants it to end.
            TimeStoodStillError: see there.
        """
        if self.stopped():
            self.stopped = _never
            raise KeyboardInterrupt
        ready: deque[events.Handle] = self._ready  # type: ignore[attr-defined]
        if not ready:
            self._pass_time()
        self._spun += 1
        if self._spun > SPUN_MAX:
            raise TimeStoodStillError(f"time stands still at {self._now_s} for {SPUN_MAX} turns")
        while self._due and self._due[0][0] <= self._now_s:
            timer = self._next_due()
            timer._scheduled = False  # type: ignore[attr-defined] # noqa: SLF001 - as the base class does
            ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:  # noqa: SLF001 - likewise
                continue
            process = handle._context.get(PROCESS)  # type: ignore[attr-defined] # noqa: SLF001
            if process is None or process.may_run(handle):
                handle._run()  # noqa: SLF001 - likewise

    def _pass_time(self) -> None:
        """Let time pass until the next timer is due."""
        while self._due and self._due[0][2].cancelled():
            self._next_due()
        if not self._due:
            raise RuntimeError("nothing will ever happen again: the simulation waits for nothing")
        if self._due[0][0] > self._now_s:
            self._now_s, self._spun = self._due[0][0], 0

    def _next_due(self) -> events.TimerHandle:
        timer = heapq.heappop(self._due)[2]
        self._cancelled -= timer.cancelled()
        return timer

    def _timer_handle_cancelled(self, handle: events.TimerHandle) -> None:
        """Take cancelled timers out when they are most of all."""
        del handle
        self._cancelled += 1
        if self._cancelled > CANCELLED_MAX and 2 * self._cancelled > len(self._due):
            self._due[:] = [it for it in self._due if not it[2].cancelled()]
            heapq.heapify(self._due)
            self._cancelled = 0

    # -- callbacks -----------------------------------------------------------------------------

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> events.Handle:
        """Run ``callback`` after all that is ready."""
        handle = events.Handle(callback, args, self, context)
        self._ready.append(handle)  # type: ignore[attr-defined]
        return handle

    def run_after_all(self, handles: Iterable[events.Handle]) -> None:
        """Run callbacks that were due before, after all that is ready."""
        self._ready.extend(handles)  # type: ignore[attr-defined]

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> events.Handle:
        """Run ``callback`` soon; there are no threads."""
        return self.call_soon(callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> events.TimerHandle:
        """Run ``callback`` at ``when``, by the time of its process."""
        process = PROCESS.get() if context is None else context.get(PROCESS)
        if process is not None:
            when += process.asleep_s
        return self.call_at_now(when, callback, *args, context=context)

    def call_at_now(
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> events.TimerHandle:
        """Run ``callback`` at ``when``, by the time of the world."""
        self._timers += 1
        timer = events.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._due, (when, self._timers, timer))
        timer._scheduled = True  # type: ignore[attr-defined] # noqa: SLF001 - as the base class does
        return timer

    def run_in_executor(  # type: ignore[override]
        self, _executor: object, func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        """Run ``func`` soon, on the loop, and return the future of what it returns."""
        done: asyncio.Future[Any] = self.create_future()

        def run() -> None:
            try:
                result = func(*args)
            except Exception as error:  # noqa: BLE001 - raised where it is waited for
                if not done.done():
                    done.set_exception(error)
            else:
                if not done.done():
                    done.set_result(result)

        self.call_soon(run, context=copy_context())
        return done

    # -- what a loop without sockets needs -----------------------------------------------------

    def _write_to_self(self) -> None:
        """Nobody sleeps."""
