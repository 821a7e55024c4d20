"""Where the guard of this environment is: its address, its token, its state folder."""

from pathlib import Path

from backstop.config.settings import CALLS_PEOPLE, Settings
from backstop.entrypoints.api_client import GuardClient
from backstop.entrypoints.api_token import stored_token
from backstop.errors import SetupError

WILDCARD_HOSTS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not bound
"""A guard that listens everywhere is called on this machine's own address."""


def state_folder() -> Path:
    """Return the state folder; no credentials are needed to read in it.

    Raises:
        SetupError: a setting is unusable.
    """
    return Settings.load(require_credentials=False, does_without=CALLS_PEOPLE).state_folder


def guard_client() -> GuardClient:
    """Return a client for the guard that the settings of this environment describe.

    Raises:
        SetupError: a setting is unusable, or no guard has left a token yet.
    """
    settings = Settings.load(require_credentials=False, does_without=CALLS_PEOPLE)
    host, port = settings.listen.host, settings.listen.port
    given = settings.api_token
    token = stored_token(settings.state_folder) if given is None else given.reveal()
    if token is None:
        raise SetupError(
            f"No guard has run with the state folder {settings.state_folder}: it holds no API "
            "token. Start one with 'backstop run', or check BACKSTOP_STATE_DIR."
        )
    return GuardClient(
        WILDCARD_HOSTS.get(host, host), port, token=token, certificate=settings.tls_cert
    )
