"""Where the processor's time goes: looks at the stack every few milliseconds of it.

A profile that counts every call makes small functions look dearer than they are. This one looks at
what the main thread does whenever the process has used the processor for a while, so what it adds
is small, and the programs beside it change how long a run takes and not what it shows. What a
function of the interpreter or of a library in C takes counts for the function that called it.
"""

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import CodeType, FrameType

from msgspec import Struct

from benchmarks.figures import spread

PERIOD_S = 0.001
"""Asked for; a kernel looks at these clocks when it ticks, every one to ten milliseconds."""

TOP = 12
"""Functions shown of each profile: below them is what takes a hundredth."""

STAGES = 10
"""Stages shown of each profile, and the shares of all looks between which they lie: what is below
all others is the measurement itself."""
STAGE_LEAST, STAGE_MOST = 0.03, 0.95

LAYERS = frozenset({"adapters", "app", "core", "domain", "emergency", "simulator", "storm"})

OTHER_THREADS = "(waits, while other threads of the process work)"


@dataclass(slots=True)
class Samples:
    """What was seen of one run.

    Attributes:
        own: how often each function itself was at work.
        within: how often it or something that it had called was.
        used_s: seconds of a processor that the process used, all threads together.
        units: how many pieces of work it did meanwhile.
    """

    own: Counter[str] = field(default_factory=Counter)
    within: Counter[str] = field(default_factory=Counter)
    used_s: float = 0.0
    units: float = 0.0

    @property
    def looks(self) -> int:
        """How often was looked."""
        return sum(self.own.values())


class Function(Struct, frozen=True, kw_only=True):
    """One function of a profile, as shares of all looks: one value for each round."""

    name: str
    own: tuple[float, ...]
    within: tuple[float, ...]

    def document(self) -> dict[str, object]:
        """Return the function as JSON has it."""
        return {"name": self.name, "own": spread(self.own), "within": spread(self.within)}


class Profile(Struct, frozen=True, kw_only=True):
    """Where the time of one path goes.

    Attributes:
        key: its name for programs.
        what: its name for people.
        unit: one piece of the work.
        unit_us: processor time of one piece, in microseconds: one value for each round.
        looks: at the stack, in all rounds.
        functions: those with the most time of their own, the most first.
        stages: of ours, those that call others: with the most time together with what they call.
    """

    key: str
    what: str
    unit: str
    unit_us: tuple[float, ...]
    looks: int
    functions: tuple[Function, ...]
    stages: tuple[Function, ...]

    def document(self) -> dict[str, object]:
        """Return the profile as JSON has it: medians, and the spread that the machine adds."""
        return {
            "what": self.what,
            "unit": self.unit,
            "unit_us": spread(self.unit_us),
            "looks": self.looks,
            "functions": [it.document() for it in self.functions],
            "stages": [it.document() for it in self.stages],
        }


def profile(*, key: str, what: str, unit: str, rounds: Sequence[Samples]) -> Profile:
    """Return the profile that ``rounds`` of the same work give together."""
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for each in rounds:
        own.update(each.own)
        within.update(each.within)
    looks = own.total()

    def function(name: str) -> Function:
        return Function(
            name=name,
            own=tuple(it.own[name] / max(1, it.looks) for it in rounds),
            within=tuple(it.within[name] / max(1, it.looks) for it in rounds),
        )

    stages = (
        name
        for name, seen in within.most_common()
        if STAGE_LEAST * looks <= seen <= STAGE_MOST * looks
        and name.partition("/")[0] in LAYERS
        and own[name] < seen / 2
    )
    return Profile(
        key=key,
        what=what,
        unit=unit,
        unit_us=tuple(it.used_s * 1e6 / it.units for it in rounds),
        looks=looks,
        functions=tuple(function(name) for name, _ in own.most_common(TOP)),
        stages=tuple(map(function, islice(stages, STAGES))),
    )


@contextmanager
def sampled() -> Iterator[Samples]:
    """Look at the main thread while the block runs; who uses it says how many ``units`` it did.

    A platform without such a clock (Windows) looks never, and only tells the time that was used.
    """
    samples = Samples()
    names: dict[CodeType, str] = {}

    def look(_number: int, frame: FrameType | None) -> None:
        if frame is None or frame.f_code.co_filename != __file__:  # not at looking itself
            _count(samples, frame, names)

    with _interrupted(look):
        began_s = time.process_time()
        yield samples
        samples.used_s = time.process_time() - began_s


@contextmanager
def _interrupted(look: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    if not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, PERIOD_S, PERIOD_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _count(samples: Samples, frame: FrameType | None, names: dict[CodeType, str]) -> None:
    on_stack: dict[str, None] = {}
    while frame is not None:
        code = frame.f_code
        name = names.get(code)
        if name is None:
            name = names[code] = name_of(code)
        on_stack[name] = None  # once, however deep it calls itself
        frame = frame.f_back
    if on_stack:
        samples.own[next(iter(on_stack))] += 1
        samples.within.update(on_stack.keys())


def name_of(code: CodeType) -> str:
    """Return a function's file, from its package on, and its name."""
    path = Path(code.co_filename)
    if path.name == "selectors.py" and code.co_name == "select":
        return OTHER_THREADS
    parts = path.parts
    for root in ("site-packages", "backstop", "benchmarks"):
        if root in parts:
            inside = parts[len(parts) - parts[::-1].index(root) :]
            return f"{'/'.join(inside)} {code.co_qualname}"
    short = "/".join(parts[-2:]) if path.parent.name == "asyncio" else path.name
    return f"{short} {code.co_qualname}"
