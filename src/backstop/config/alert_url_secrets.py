"""What is secret inside the address of an alert channel, apart from the whole address.

An address is struck out as a whole, but its password or its token may stand somewhere by itself: in
the words of a service that refuses it, or where a person typed it into another field.
"""

from collections.abc import Iterator
from urllib.parse import parse_qsl, unquote, urlsplit

from backstop.config.secret import Secret

TOKEN_CHARACTERS_MIN = 16
"""Shorter parts are names of hosts, rooms and people as a rule, which occur in ordinary text; the
tokens of the services are longer. A password is one at any length."""


def alert_url_secrets(url: Secret) -> Iterator[Secret]:
    """Yield the password of ``url``, and each part that is long enough to be a token."""
    try:
        parts = urlsplit(url.reveal())
        host, user, password = parts.hostname or "", parts.username or "", parts.password or ""
        pairs = parse_qsl(parts.query)
    except ValueError:
        return  # the service will refuse it; as a whole it is struck out all the same
    # The host as it is written: ``urlsplit`` makes it lower case, and tokens stand there, too.
    written = parts.netloc.rpartition("@")[2][: len(host)]
    tokens = (user, written, *parts.path.split("/"), *(value for _, value in pairs))
    found = [it for it in tokens if len(it) >= TOKEN_CHARACTERS_MIN and "." not in it]
    for text in (password, *found) if password else found:
        yield Secret(text)
        if unquote(text) != text:
            yield Secret(unquote(text))
