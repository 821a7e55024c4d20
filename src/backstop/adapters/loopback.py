"""Whether an address can only mean this machine: the question that keeps real accounts out.

It is answered from the text alone. A name server may say 127.0.0.1 today and something else
tomorrow, so no name but ``localhost`` is believed.
"""

import ipaddress
from urllib.parse import urlsplit


def is_loopback_host(host: str) -> bool:
    """Tell whether ``host``, a name or an address without port, is certainly this machine."""
    bare = host.lower().rstrip(".")
    try:
        return bare == "localhost" or ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return False


def is_loopback_url(url: str) -> bool:
    """Tell whether the host of ``url`` is certainly this machine."""
    return is_loopback_host(urlsplit(url).hostname or "")
