"""What the log strikes out of the addresses of alert channels, part by part."""

import pytest

from backstop.adapters.log import Redactor
from backstop.config.alert_url_secrets import alert_url_secrets
from backstop.config.secret import STARS, Secret
from backstop.config.settings import Settings

LONG = "Xy7" * 8


def parts(url: str) -> list[str]:
    return [part.reveal() for part in alert_url_secrets(Secret(url))]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("json://user:SECRETPASS@127.0.0.1:9/x", ["SECRETPASS"]),
        ("mailto://me:p%40ssword@mail.example.com", ["p%40ssword", "p@ssword"]),
        (f"discord://123456789/{LONG}", [LONG]),
        (f"tgram://{LONG}/42", [LONG]),
        (f"pover://{LONG}@{LONG.swapcase()}", [LONG, LONG.swapcase()]),
        (f"json://example.com/?token={LONG}&name=desk", [LONG]),
        ("json://alerts.a-very-long-name.example.com/trading-desk", []),
        ("json://[broken", []),
    ],
)
def test_passwords_and_tokens_are_secrets_of_their_own(url: str, expected: list[str]) -> None:
    assert parts(url) == expected


def test_settings_have_them_struck_out_of_whatever_leaves() -> None:
    settings = Settings.load(
        environment={
            "TOPSTEPX_USERNAME": "trader",
            "TOPSTEPX_API_KEY": "practice-key",
            "TOPSTEPX_ACCOUNT_ID": "1",
            "BACKSTOP_ALERT_URLS": "json://user:SECRETPASS@127.0.0.1:9/x",
        }
    )
    redactor = Redactor()
    for secret in settings.secrets:
        redactor.register(secret)

    assert redactor.redact("order practice-SECRETPASS") == f"order practice-{STARS}"
