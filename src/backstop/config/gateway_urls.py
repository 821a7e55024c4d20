"""Addresses of a ProjectX gateway: where its hubs are."""

from enum import StrEnum
from urllib.parse import urlsplit, urlunsplit


class HubPath(StrEnum):
    """Where each hub is on its host."""

    USER = "/hubs/user"
    MARKET = "/hubs/market"


def hub_url(api_url: str, hub: HubPath) -> str:
    """Return the hub that belongs to the gateway ``api_url`` (no slash at its end).

    The firms' gateways have their hubs on another host, ``api.`` becoming ``rtc.``; a gateway on
    any other host, such as the simulator, has them beside its own API.
    """
    parts = urlsplit(api_url)
    host = parts.hostname or ""
    if not host.startswith("api.") or parts.path:
        return api_url + hub.value
    netloc = "rtc." + parts.netloc[len("api.") :]
    return urlunsplit((parts.scheme, netloc, hub.value, "", ""))
