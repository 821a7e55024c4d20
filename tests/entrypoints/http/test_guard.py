"""What the interface asks a guard for, and what a guard offers: two lists that have to be equal."""

import inspect
from pathlib import Path
from typing import Any

import pytest

from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.config.settings import Settings
from backstop.entrypoints.http.guard import Guard

ASKED = {name: it for name, it in vars(Guard).items() if not name.startswith("_")}
CALLS = {name: it for name, it in ASKED.items() if inspect.isfunction(it)}
READINGS = {name: it for name, it in ASKED.items() if isinstance(it, property)}


def test_nothing_is_asked_for_but_calls_and_readings() -> None:
    assert ASKED == CALLS | READINGS


@pytest.mark.parametrize("name", CALLS)
def test_a_call_takes_and_gives_the_same(name: str) -> None:
    offered = getattr(CriticalSystemManager, name)

    assert inspect.iscoroutinefunction(offered) is inspect.iscoroutinefunction(CALLS[name])
    assert inspect.signature(offered) == inspect.signature(CALLS[name])


@pytest.mark.parametrize("name", READINGS)
def test_a_reading_gives_the_same(name: str, tmp_path: Path) -> None:
    """A plain member is what it was set to; what is worked out has to say the same of itself."""
    settings = Settings.hermetic(
        TOPSTEPX_API_URL="http://127.0.0.1:9",
        TOPSTEPX_USERNAME="user",
        TOPSTEPX_API_KEY="key-0123456789",
        TOPSTEPX_ACCOUNT_ID=1,
        BACKSTOP_STATE_DIR=tmp_path,
    )
    offered = inspect.getattr_static(CriticalSystemManager.from_settings(settings), name)

    if isinstance(offered, property):
        assert inspect.signature(offered.fget) == inspect.signature(READINGS[name].fget)  # type: ignore[arg-type]


def test_the_guard_of_these_tests_is_called_like_the_real_one(desk: Any) -> None:
    stand_in = type(desk.guard())
    offered = {name: getattr(stand_in, name) for name in CALLS if hasattr(stand_in, name)}

    assert {name: called(it) for name, it in offered.items()} == {
        name: called(CALLS[name]) for name in offered
    }


def called(operation: Any) -> tuple[object, ...]:
    """Return what a caller has to know; a stand-in may want what the real one has a default for."""
    arguments = inspect.signature(operation).parameters.values()
    return (
        inspect.iscoroutinefunction(operation),
        *((it.name, it.kind, it.annotation) for it in arguments),
    )
