"""What systemd hears, on a real socket."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from backstop.adapters.systemd_notify import ALIVE, READY, ServiceManager


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(tmp_path / "notify"))
        bound.settimeout(10)
        yield bound


def test_states_arrive_in_one_message(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(manager.getsockname()))
    service = ServiceManager()
    service.tell(READY, ALIVE)
    service.close()

    assert manager.recv(100) == b"READY=1\nWATCHDOG=1"


def test_an_address_without_a_file_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind("\0backstop-test")
        bound.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", "@backstop-test")
        service = ServiceManager()
        service.tell(READY)
        service.close()

        assert bound.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/notify"])
def test_without_a_manager_that_listens_nothing_happens(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    service = ServiceManager()
    service.tell(READY)
    service.close()
    service.tell(ALIVE)
