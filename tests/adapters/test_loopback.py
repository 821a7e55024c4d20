"""Only what can certainly mean this machine counts as this machine."""

import pytest

from backstop.adapters.loopback import is_loopback_host, is_loopback_url


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("localhost", True),
        ("LOCALHOST.", True),
        ("0.0.0.0", False),  # noqa: S104 - the very address that must not count as loopback
        ("::", False),
        ("10.0.0.1", False),
        ("127.1", False),
        ("example.org", False),
        ("localhost.example.org", False),
        ("127.0.0.1.example.org", False),
        ("", False),
    ],
)
def test_loopback_is_known_by_address_not_by_looks(host: str, *, loopback: bool) -> None:
    assert is_loopback_host(host) is loopback


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:8080/hubs/user", True),
        ("http://[::1]:8080", True),
        ("https://localhost", True),
        ("https://127.0.0.1@example.org/", False),
        ("https://example.org/127.0.0.1", False),
        ("https://api.topstepx.com", False),
        ("https://192.168.1.5:5000", False),
        ("https://127.0.0.1.example.com", False),
        ("https://2130706433", False),
        ("https://0.0.0.0:5000", False),
        ("127.0.0.1", False),  # no scheme: a path, and no host at all
    ],
)
def test_only_the_host_of_an_address_decides(url: str, *, loopback: bool) -> None:
    assert is_loopback_url(url) is loopback
