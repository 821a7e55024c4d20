"""Lines of small processes look like those of the guard."""

import io
import json
import sys

import pytest

from backstop.adapters.plain_log import Level, log_line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Broken(io.StringIO):
    def write(self, _: str) -> int:
        raise BrokenPipeError


def test_a_line_for_machines_has_the_fields_of_every_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    log_line(Level.CRITICAL, "guard_killed", session_id="watchdog-7", reason="FROZEN")
    line = json.loads(sys.stderr.getvalue())  # type: ignore[attr-defined]

    assert list(line)[:5] == ["time", "level", "component", "event", "session_id"]
    assert (line["level"], line["component"], line["reason"]) == (
        "critical",
        "[CRITICAL]",
        "FROZEN",
    )


def test_a_line_on_a_terminal_is_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    log_line(Level.WARNING, "guard_stale", session_id="watchdog-7", reason="no pulse")
    line = sys.stderr.getvalue()  # type: ignore[attr-defined]

    assert "guard_stale reason=no pulse" in line
    assert "[CriticalSystem]" in line


def test_a_reader_that_is_gone_ends_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Broken())

    log_line(Level.WARNING, "guard_stale", session_id="watchdog-7")
