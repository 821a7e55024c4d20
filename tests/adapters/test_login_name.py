"""Who asks is known by a name, and nothing waits for one."""

import sys

import pytest

from backstop.adapters.login_name import NOBODY_KNOWN, login_name

NAMES = ("LOGNAME", "USER", "LNAME", "USERNAME")


def test_the_login_name_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "ann")

    assert login_name() == "ann"


def test_a_user_whom_the_system_does_not_know_has_a_name_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "pwd", None)  # Windows has none

    assert login_name() == NOBODY_KNOWN
