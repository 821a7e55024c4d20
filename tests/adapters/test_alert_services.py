"""The schemes of alert addresses are those of the library that sends, without loading it."""

import subprocess
import sys
import warnings

import apprise
import pytest

from backstop.adapters.alert_services import SERVICES, is_service, scheme_of, similar


def test_every_service_of_the_library_is_in_the_table() -> None:
    """Also those that need a library which is not installed here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        details = apprise.Apprise().details(show_disabled=True)
    schemes = {
        scheme
        for service in details["schemas"]
        for kind in ("protocols", "secure_protocols")
        for scheme in service[kind] or ()
    }

    assert schemes <= SERVICES, f"in the library and not in the table: {schemes - SERVICES}"


@pytest.mark.parametrize("scheme", ["discord", "tgram", "mailtos", "json", "mqtt", "https"])
def test_a_service_is_known_by_its_scheme(scheme: str) -> None:
    assert is_service(scheme)


@pytest.mark.parametrize("scheme", ["discrod", "ftp", "nosuch"])
def test_a_scheme_that_is_no_service_is_known_as_none(scheme: str) -> None:
    assert not is_service(scheme)


def test_a_slip_is_told_with_what_was_perhaps_meant() -> None:
    assert similar("discrod") == "discord"
    assert similar("qqqqqqqqqq") == ""


@pytest.mark.parametrize(
    ("url", "scheme"),
    [
        ("Discord://a/b", "discord"),
        ("hunter2", ""),
        ("://a", ""),
        ("a b://c", ""),
        ("s3cr3t/with:a://", ""),
        ("x" * 40 + "://a", ""),
    ],
)
def test_a_scheme_is_what_may_be_shown_of_an_address(url: str, scheme: str) -> None:
    assert scheme_of(url) == scheme


def test_settings_with_alert_addresses_do_not_load_the_library() -> None:
    """It takes half a second, and every command judges the settings."""
    program = (
        "import sys; from backstop.config.setting_kinds import alert_urls; "
        "alert_urls().parse('discord://a/b json://h/p'); print('apprise' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "False"
