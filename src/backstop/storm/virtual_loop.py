"""An event loop whose time is virtual: when nothing is ready, it is the time of the next timer.

Everything that happens is in one order, which depends on nothing but what was asked for. Whatever
runs belongs to a process of the simulation, named by the context that it runs in; a process that
is killed is never run again, not even its ``finally``, and one that is frozen runs when it thaws.
"""

import asyncio
import heapq
from asyncio import events
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, Final
from weakref import WeakSet

EPOCH_S: Final = 1_000.0
"""The loop's time at the beginning; that of a machine that was booted a quarter of an hour ago."""

SPUN_MAX: Final = 2_000_000
"""Callbacks in one moment of virtual time: more of them are a loop that never ends."""


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

    def thaw(self, loop: asyncio.AbstractEventLoop) -> None:
        """Go on running it, with all that became due meanwhile."""
        self._frozen = False
        held, self._held = self._held, []
        for handle in held:
            loop.call_soon(handle._run)  # noqa: SLF001 - the same kind of handle

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


class _Handle(events.Handle):
    """A callback that runs only while its process does."""

    __slots__ = ()

    def _run(self) -> None:
        context: Context = self._context  # type: ignore[attr-defined]
        process = context.get(PROCESS)
        if process is None or process.may_run(self):
            super()._run()


class _Timer(events.TimerHandle):
    """The same at a time; of those that are due together the one that was asked for first."""

    __slots__ = ("_number",)

    def __init__(  # noqa: PLR0917 - as the base class is called
        self,
        when: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: asyncio.AbstractEventLoop,
        context: Context | None,
        number: int,
    ) -> None:
        super().__init__(when, callback, args, loop, context)
        self._number = number

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, _Timer):
            return NotImplemented
        mine, its = self.when(), other.when()
        return mine < its or (mine == its and self._number < other._number)

    def _run(self) -> None:
        context: Context = self._context  # type: ignore[attr-defined]
        process = context.get(PROCESS)
        if process is None or process.may_run(self):
            super()._run()


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


class _NoSelector:
    """Waits for nothing but time, which it moves."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        self._loop.pass_time(timeout)
        return []

    def close(self) -> None:
        """There is nothing to close."""


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop of one simulation."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = _NoSelector(self)
        self._now_s = EPOCH_S
        self._spun = 0
        self._timers = 0
        self._clock_resolution = 1e-9
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

    def pass_time(self, timeout: float | None) -> None:
        """Let time pass until the next timer is due."""
        if timeout is None:
            raise RuntimeError("nothing will ever happen again: the simulation waits for nothing")
        if timeout <= 0:
            self._spun += 1
            if self._spun > SPUN_MAX:
                raise RuntimeError(f"time has stood still at {self._now_s} for {SPUN_MAX} turns")
            return
        self._spun = 0
        scheduled: list[events.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        self._now_s = max(self._now_s, scheduled[0].when())

    # -- callbacks -----------------------------------------------------------------------------

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> events.Handle:
        """Run ``callback`` after all that is ready."""
        handle = _Handle(callback, args, self, context)
        self._ready.append(handle)  # type: ignore[attr-defined]
        return handle

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
        timer = _Timer(when, callback, args, self, context, self._timers)
        heapq.heappush(self._scheduled, timer)  # type: ignore[attr-defined]
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

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps."""
