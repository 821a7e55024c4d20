"""What is allowed and was perhaps not meant, in sentences for the person who starts the process.

In front of a simulator most of it is how one practises. With both keys turned and a gateway that is
not on this machine it is real money, so there each door that stands open is named.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from backstop.adapters.loopback import is_loopback_host, is_loopback_url
from backstop.config.choices import Calendar
from backstop.config.secret import Secret

API_TOKEN_LENGTH_MIN = 16
"""Characters of a token that nobody guesses: 60 bits, be each of them only one of fourteen."""

_COMPONENTS = {
    "EXECUTION_VERIFICATION_ENABLE": (
        "execution_verification_enable",
        "what was executed is not proven",
    ),
    "DISASTER_RECOVERY_ENABLE": (
        "disaster_recovery_enable",
        "positions are neither protected nor taken flat after a crash",
    ),
    "CORRELATION_PROTECTION_ENABLE": (
        "correlation_protection_enable",
        "nothing limits what moves together",
    ),
}


def doubts(members: Mapping[str, Any]) -> list[str]:
    """Return the sentences for these members of the settings."""
    found = [*_open_interface(members), *_switched_off(members)]
    if _sends_to_a_real_account(members):
        found += _open_doors(members)
    return found


def _open_interface(members: Mapping[str, Any]) -> Iterator[str]:
    listen = members["listen"]
    if members["tls_cert"] is None and not is_loopback_host(listen.host):
        yield (
            f"BACKSTOP_LISTEN opens the API on {listen.host} without TLS: "
            "the token travels readable"
        )
    token = members["api_token"]
    if token is not None and is_guessable(token):
        yield (
            f"BACKSTOP_API_TOKEN has {length_text(token)}, so it can be guessed; whoever has it "
            f"trades and takes the account flat. Use {API_TOKEN_LENGTH_MIN} or more, at random"
        )


def is_guessable(token: Secret) -> bool:
    """Say whether a token of the API is too short to keep anybody out."""
    return len(token.reveal()) < API_TOKEN_LENGTH_MIN


def length_text(token: Secret) -> str:
    """Return how long a token is, in words."""
    length = len(token.reveal())
    return "1 character" if length == 1 else f"{length} characters"


def _switched_off(members: Mapping[str, Any]) -> Iterator[str]:
    if members["allow_unprotected"]:
        entries = "entries are let through all the same (ALLOW_UNPROTECTED=1)"
    else:
        entries = "entries are refused"
    for name, (member, what) in _COMPONENTS.items():
        if not members[member]:
            yield f"{name}=0: {what}; {entries}"


def _sends_to_a_real_account(members: Mapping[str, Any]) -> bool:
    sends = members["execute"] and not members["dry_run"] and members["critical_system_enable"]
    urls = (members["api_url"], members["user_hub_url"], members["market_hub_url"])
    return bool(sends) and not all(is_loopback_url(url) for url in urls)


def _open_doors(members: Mapping[str, Any]) -> Iterator[str]:
    """Yield what stands between a slip and a real account, and does not any more."""
    off = not all(members[member] for member, _ in _COMPONENTS.values())
    if members["allow_unprotected"] and not off:
        yield "ALLOW_UNPROTECTED=1: a component that is switched off would refuse no entry"
    if members["calendar"] is Calendar.ALWAYS_OPEN:
        yield (
            "BACKSTOP_CALENDAR=always-open: orders are sent at any hour, and nothing is taken flat "
            "before a close or an expiry; it is meant for the simulator"
        )
    if not members["stop_required"] and members["default_stop_ticks"] is None:
        yield "STOP_REQUIRED=0 and no DEFAULT_STOP_TICKS: entries are sent without a stop"
    if members["max_daily_loss"] is None and members["max_trailing_loss"] is None:
        yield (
            "no MAX_DAILY_LOSS and no MAX_TRAILING_LOSS: no loss stops trading; BACKSTOP_PROFILE "
            "sets both for a Topstep account"
        )
    if not members["clock_offset_max_ns"]:
        yield "CLOCK_OFFSET_MAX_SECONDS=0: a wrong clock of this computer stops nothing"
    if not members["alert_urls"]:
        yield "no BACKSTOP_ALERT_URLS: nobody is called when a person is needed"
