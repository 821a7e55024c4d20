"""Finds out whether a guard is there that answers, before anybody acts in its place."""

import time
from urllib.parse import urlsplit

from backstop.config.settings import Settings
from backstop.emergency.right_to_send import is_free, lock_of_account
from backstop.entrypoints.api_client import GuardClient
from backstop.entrypoints.api_token import stored_token
from backstop.entrypoints.place import WILDCARD_HOSTS
from backstop.errors import SetupError

SILENT_S = 3.0
"""A guard that has not answered for this long is taken for one that cannot act."""

AGAIN_S = 0.25
"""Pause before one is asked again that holds the account and does not listen yet."""


def answering_guard(settings: Settings) -> GuardClient | None:
    """Return a client of the guard of this account, or None when there is none that answers.

    One that holds the account is asked for ``SILENT_S``; where nobody holds it, once.

    Raises:
        GuardRefusedError: it answers, and does not accept our token: it is not ours to stop.
    """
    ends_s = time.monotonic() + SILENT_S
    given = settings.api_token
    token = stored_token(settings.state_folder) if given is None else given.reveal()
    listen = settings.listen
    while token is not None and listen.port:
        left_s = max(AGAIN_S, ends_s - time.monotonic())
        host = WILDCARD_HOSTS.get(listen.host, listen.host)
        address = (host, listen.port)
        asked = GuardClient(*address, token=token, certificate=settings.tls_cert, limit_s=left_s)
        try:
            asked.call("GET", "/v1/status")
        except SetupError:
            if time.monotonic() + AGAIN_S >= ends_s or not _is_guarded(settings):
                return None
            time.sleep(AGAIN_S)
        else:
            return GuardClient(*address, token=token, certificate=settings.tls_cert)
    return None


def _is_guarded(settings: Settings) -> bool:
    """Say whether somebody holds the account; without its number nobody can tell."""
    if not settings.account_id:
        return False
    return not is_free(lock_of_account(urlsplit(settings.api_url).netloc, settings.account_id))
