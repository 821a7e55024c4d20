"""Can the services that take alerts be reached at all? Asked at the start, without telling anybody.

A connection is opened and closed again; nothing is sent. So a person learns that a channel is dead
while he sits there, and not by the alert that did not come. What cannot be asked like that, an SMS
modem or a system log, is left alone: nothing is concluded about it. So is what answered once: from
then on the alerts themselves show how it is.
"""

import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Event, Lock, Thread
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

CONNECT_LIMIT_S = 5.0
"""How long a service may take to answer; from far away and over a bad line it is a second."""

AGAIN_S = 60.0
"""Between two tries of a channel that could not be reached."""

HTTP_PORT, HTTPS_PORT = 80, 443

Address = tuple[str, int]
"""Host and port."""


def address_of(sender: Any, proxies: Mapping[str, str]) -> Address | None:
    """Return where to knock for a sender of Apprise; None where that is not known for sure.

    ``proxies`` are those of the system by scheme: what goes through one is not connected to itself.
    """
    mail_host = getattr(sender, "smtp_host", None)
    if mail_host and sender.port:
        return str(mail_host), int(sender.port)
    for name in ("notify_url", "webhook_url"):
        found = _address(getattr(type(sender), name, ""), proxies)
        if found is not None:
            return found
    if _is_own_server(sender):
        scheme = "https" if sender.secure else "http"
        port = f":{sender.port}" if sender.port else ""
        return _address(f"{scheme}://{sender.host}{port}", proxies)
    return None


def _is_own_server(sender: Any) -> bool:
    """Say whether the host in its address is an HTTP server, and not a topic or a domain."""
    forms = tuple(str(form) for form in sender.templates)
    return (
        bool(getattr(sender, "host", None))
        and hasattr(sys.modules.get(type(sender).__module__), "requests")
        and all("{host}" in form for form in forms)
        and any("{host}:{port}" in form for form in forms)
    )


def _address(url: Any, proxies: Mapping[str, str]) -> Address | None:
    """Return the host and port of ``url``, or of the proxy before it; None where it has none."""
    if not isinstance(url, str):
        return None
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        if parts.scheme not in {"http", "https"} or not host or "{" in parts.netloc:
            return None
        proxy = proxies.get(parts.scheme)
        if proxy and not proxy_bypass(host):
            between = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
            return (between.hostname or host, between.port or HTTP_PORT)
    except ValueError:
        return None
    return host, port or (HTTPS_PORT if parts.scheme == "https" else HTTP_PORT)


def unreachable(address: Address) -> str:
    """Connect and hang up; return why that cannot be done, and nothing where it can.

    The words name no host: it may be part of an address that is not to be shown.
    """
    try:
        socket.create_connection(address, timeout=CONNECT_LIMIT_S).close()
    except TimeoutError:
        return f"no answer within {CONNECT_LIMIT_S:g} s"
    except socket.gaierror:
        return "the name of its host is not known"
    except (OSError, UnicodeError) as error:
        return (error.strerror if isinstance(error, OSError) else "") or type(error).__name__
    return ""


@dataclass(slots=True)
class Lookout:
    """Tries channels beside the delivering, those that cannot be reached again and again.

    Attributes:
        senders: by the number of their channel.
        tell: hears the number of a channel and why it cannot be reached; empty: it can.
    """

    senders: Mapping[int, Any]
    tell: Callable[[int, str], None]
    _over: Event
    _telling: Lock

    @classmethod
    def begin(cls, senders: Mapping[int, Any], tell: Callable[[int, str], None]) -> "Lookout":
        """Begin to look."""
        lookout = cls(senders, tell, Event(), Lock())
        # A process that must end does not wait for a host that does not answer.
        Thread(target=lookout.run, name="reach", daemon=True).start()
        return lookout

    def end(self) -> None:
        """Say nothing more, from the return on."""
        with self._telling:
            self._over.set()

    def run(self) -> None:
        """Try until all that can be asked have answered once."""
        proxies = getproxies()
        asked = {number: address_of(it, proxies) for number, it in self.senders.items()}
        waiting = {number: address for number, address in asked.items() if address is not None}
        while waiting and not self._over.is_set():
            for number, address in tuple(waiting.items()):
                fault = unreachable(address)
                with self._telling:
                    if self._over.is_set():
                        return
                    self.tell(number, fault)
                if not fault:
                    del waiting[number]
            if waiting:
                self._over.wait(AGAIN_S)
