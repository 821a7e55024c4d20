"""The profile finds what uses the processor, by its name, and what called it."""

import time
from collections import Counter

from benchmarks.sampling import Samples, name_of, profile, sampled

LOOKS = 20
USED_S_MAX = 20.0
"""Many times what so many looks take; a machine without a clock for them would wait for ever."""


def works() -> int:
    return sum(number * number for number in range(2000))


def calls_what_works(samples: Samples) -> None:
    until_s = time.process_time() + USED_S_MAX
    while samples.looks < LOOKS and time.process_time() < until_s:
        works()
        samples.units += 1


def test_the_function_that_works_has_the_time_and_its_caller_has_it_within() -> None:
    with sampled() as samples:
        calls_what_works(samples)

    found = profile(key="k", what="work", unit="call", rounds=[samples])

    assert found.looks >= LOOKS
    by_name = {it.name.rpartition(" ")[2]: it for it in found.functions}
    (caller,) = by_name["calls_what_works"].within if "calls_what_works" in by_name else (1.0,)
    assert sum(it.own[0] for name, it in by_name.items() if name.startswith("works")) > 0.5
    assert caller > 0.9
    assert found.unit_us[0] > 0


def test_a_stage_is_a_function_of_ours_that_has_its_time_in_what_it_calls() -> None:
    samples = Samples(
        own=Counter({"core/a.py leaf": 60, "core/b.py stage": 10, "json.py dumps": 30}),
        within=Counter(
            {
                "core/whole.py all": 100,
                "core/b.py stage": 70,
                "core/a.py leaf": 60,
                "json.py dumps": 30,
            }
        ),
        used_s=1.0,
        units=100,
    )

    found = profile(key="k", what="work", unit="call", rounds=[samples])

    assert [(it.name, it.own, it.within) for it in found.stages] == [
        ("core/b.py stage", (0.1,), (0.7,))
    ]
    assert [it.name for it in found.functions] == [
        "core/a.py leaf",
        "json.py dumps",
        "core/b.py stage",
    ]
    assert found.unit_us == (10_000.0,)


def test_nothing_is_looked_at_after_the_end() -> None:
    with sampled() as samples:
        calls_what_works(samples)
    looks = samples.looks

    other = Samples()
    until_s = time.process_time() + 0.1
    while time.process_time() < until_s:
        works()
        other.units += 1

    assert samples.looks == looks


def test_a_function_is_named_by_its_file_in_its_package() -> None:
    assert name_of(name_of.__code__) == "sampling.py name_of"
    assert name_of(works.__code__) == "test_sampling.py works"
