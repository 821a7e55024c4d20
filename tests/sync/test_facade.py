"""The synchronous face has every operation of the asynchronous one, with the same arguments."""

import inspect
from collections.abc import Iterator

import pytest

from backstop.app.correlation_protection_system import CorrelationProtectionSystem
from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.app.disaster_recovery_system import DisasterRecoverySystem
from backstop.app.execution_verification_system import ExecutionVerificationSystem
from backstop.sync import manager, parts

OF_THE_LOOP = {
    "audit", "book", "bots", "commit_waits", "decisions", "deliveries", "failed", "fault_reporter",
    "gateway_host", "is_running", "journal_seq", "note", "now_ns", "order_changed", "order_desk",
    "order_records", "parts", "settings_warnings", "steps", "watch",
}  # fmt: skip
"""What belongs to the guard's own thread or to its host process; ``ask`` looks into it there."""

PAIRS = (
    (CriticalSystemManager, manager.CriticalSystemManager),
    (ExecutionVerificationSystem, parts.ExecutionVerificationSystem),
    (DisasterRecoverySystem, parts.DisasterRecoverySystem),
    (CorrelationProtectionSystem, parts.CorrelationProtectionSystem),
)


def operations(of: type) -> Iterator[tuple[str, object]]:
    """Yield what a class offers itself, not what it inherits."""
    for name, member in vars(of).items():
        if not name.startswith("_") and (callable(member) or isinstance(member, property)):
            yield name, member
        elif isinstance(member, classmethod):
            yield name, member.__wrapped__


@pytest.mark.parametrize(("waiting", "plain"), PAIRS, ids=lambda it: it.__module__)
def test_every_operation_is_there_with_the_same_arguments(waiting: type, plain: type) -> None:
    theirs = {name: it for name, it in operations(waiting) if name not in OF_THE_LOOP}
    ours = dict(operations(plain))

    assert sorted(set(theirs) - set(ours)) == []
    for name, member in theirs.items():
        if isinstance(member, property):
            assert isinstance(ours[name], property), name
        else:
            assert arguments(ours[name]) == arguments(member), name
            assert required(ours[name]) <= required(member), name


def test_what_is_left_out_exists() -> None:
    """A name that is gone from the guard must go from the list as well."""
    assert OF_THE_LOOP - set(dict(operations(CriticalSystemManager))) == set()


def arguments(operation: object) -> set[tuple[str, str]]:
    """Return name and kind of each argument; a clock of its own is for tests alone."""
    found = inspect.signature(operation).parameters.values()  # type: ignore[arg-type]
    return {(it.name, it.kind.name) for it in found if it.name != "clock"}


def required(operation: object) -> set[str]:
    """Return the arguments that may not be left out."""
    found = inspect.signature(operation).parameters.values()  # type: ignore[arg-type]
    return {it.name for it in found if it.default is it.empty}
