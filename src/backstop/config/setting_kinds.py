"""Kinds of settings: how the text of one becomes a value, and what is allowed, in words.

Each function returns a Kind; its ``parse`` raises ValueError with the fault in words. The faults
repeat what was given, which is why credentials have kinds of their own that do not.
"""

import re
from collections.abc import Callable
from datetime import time
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from backstop.adapters.alert_services import is_service, scheme_of, similar
from backstop.adapters.loopback import is_loopback_url
from backstop.config.credential_manager import credential_fault
from backstop.config.secret import Secret

MAX_SYMBOLS = 64
"""Roots that one guard watches; the hub takes a subscription for each."""

MAX_ALERT_URLS = 32
"""Every alert goes to all of them."""

MAX_VAULTS = 3
"""Vaults of other packages; a start may have to wait for each of them, and has a limit itself."""

_ON = frozenset({"1", "true", "yes", "on"})
_OFF = frozenset({"0", "false", "no", "off"})
_SYMBOL = re.compile(r"[A-Z0-9]{1,6}")
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_PLUG_IN = re.compile(r"[\w.-]{1,64}")
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?([0-9]{1,18}(\.[0-9]{0,12})?|\.[0-9]{1,12})")


class Kind(Struct, frozen=True, kw_only=True):
    """How one setting is read.

    Attributes:
        type_name: the value's type, for the documentation.
        allowed: what passes, in words.
        parse: turns text into the value; raises ValueError with the fault.
        secret: the value must not be shown.
        is_number: a blank text is a mistake, whatever the default: a limit that an undefined shell
            variable took away would be missed by nobody until it was needed.
    """

    type_name: str
    allowed: str
    parse: Callable[[str], object]
    secret: bool = False
    is_number: bool = False


class ListenAddress(Struct, frozen=True, kw_only=True):
    """Where the API listens; port 0 takes any free one."""

    host: str
    port: int


def switch() -> Kind:
    """On or off."""

    def parse(text: str) -> bool:
        word = text.lower()
        if word in _ON:
            return True
        if word in _OFF:
            return False
        raise ValueError(f"{text!r} is neither on nor off")

    return Kind(type_name="switch", allowed="1 or 0 (also true/false, yes/no, on/off)", parse=parse)


def whole(least: int, most: int) -> Kind:
    """A whole number from ``least`` to ``most``."""

    def parse(text: str) -> int:
        if not _WHOLE.fullmatch(text):
            raise ValueError(f"{text!r} is not a whole number")
        number = msgspec.convert(text.removeprefix("+"), int, strict=False)
        if not least <= number <= most:
            raise ValueError(f"{text} is outside what is allowed")
        return number

    return Kind(type_name="whole number", allowed=f"{least} to {most}", parse=parse, is_number=True)


def account_number() -> Kind:
    """The number of an account; its faults do not repeat it: a key may stand there by mistake."""
    in_range = whole(1, 2**31 - 1)

    def parse(text: str) -> object:
        digits = "" if text.startswith("+") else text  # an account's number bears no sign
        try:
            return in_range.parse(digits)
        except ValueError:
            raise ValueError("the value is not an account's number; its name is none") from None

    return Kind(type_name=in_range.type_name, allowed=in_range.allowed, parse=parse)


def number(
    least: str, most: str, *, above: bool = False, step: str = "", or_zero: bool = False
) -> Kind:
    """A decimal number from ``least`` (or ``above`` it) to ``most``; ``or_zero``: 0 as well.

    ``step`` is what it is counted in: a finer number would be cut, and nobody told.
    """
    lowest, highest = Decimal(least), Decimal(most)

    def parse(text: str) -> Decimal:
        value = _decimal(text)
        if or_zero and not value:
            return Decimal(0)
        if not lowest <= value <= highest or (above and value == lowest):
            raise ValueError(f"{text} is outside what is allowed")
        if step and value % Decimal(step):
            raise ValueError(f"{text} is finer than it is counted")
        return value

    allowed = f"above {least}, at most {most}" if above else f"{least} to {most}"
    allowed = f"0, or {allowed}" if or_zero else allowed
    allowed += f", in steps of {step}" if step else ""
    return Kind(type_name="number", allowed=allowed, parse=parse, is_number=True)


CENT = "0.01"


def dollars(least: str, most: str, *, above: bool = False) -> Kind:
    """An amount of money, to the cent."""
    return number(least, most, above=above, step=CENT)


def duration_ns(least: str, most: str, *, unit_ns: int, or_zero: bool = False) -> Kind:
    """A duration in units of ``unit_ns``, kept in whole nanoseconds."""
    in_units = number(least, most, or_zero=or_zero)

    def parse(text: str) -> int:
        value = in_units.parse(text)
        assert isinstance(value, Decimal)  # noqa: S101 - number gives nothing else
        return int(value * unit_ns)

    return Kind(type_name="duration", allowed=in_units.allowed, parse=parse, is_number=True)


def session_time() -> Kind:
    """A time of day before the close of a session."""
    last = time(15, 59)

    def parse(text: str) -> time:
        if not _TIME.fullmatch(text):
            raise ValueError(f"{text!r} is not a time of the form HH:MM")
        at = time.fromisoformat(text)
        if at > last:
            raise ValueError(f"{text} is outside what is allowed")
        return at

    return Kind(type_name="time of day", allowed=f"00:00 to {last:%H:%M}", parse=parse)


def choice(choices: type[StrEnum]) -> Kind:
    """One word of a closed set."""

    def parse(text: str) -> StrEnum:
        try:
            return choices(text.lower())
        except ValueError:
            raise ValueError(f"{text!r} is none of them") from None

    words = " | ".join(member.value for member in choices)
    return Kind(type_name="choice", allowed=words, parse=parse)


def symbols() -> Kind:
    """Exchange roots, separated by commas."""

    def parse(text: str) -> tuple[str, ...]:
        roots = [part.strip().upper() for part in text.split(",")]
        for root in roots:
            if not _SYMBOL.fullmatch(root):
                raise ValueError(f"{root!r} is not an exchange root")
        if len(set(roots)) != len(roots):
            raise ValueError("a root stands there twice")
        if len(roots) > MAX_SYMBOLS:
            raise ValueError(f"there are {len(roots)} roots")
        return tuple(roots)

    allowed = f"1 to {MAX_SYMBOLS} different roots with commas between them, such as ES,NQ"
    return Kind(type_name="list", allowed=allowed, parse=parse)


def path() -> Kind:
    """A path; ``~`` is the home folder, a relative one counts from the current folder."""

    def parse(text: str) -> Path:
        if "\0" in text:
            raise ValueError("it has a zero byte in it")
        try:
            return Path(text).expanduser().absolute()
        except RuntimeError:
            raise ValueError(f"{text!r} begins with the home folder of nobody here") from None

    return Kind(type_name="path", allowed="a path", parse=parse)


def existing_file() -> Kind:
    """A path to a file that is there."""
    as_path = path()

    def parse(text: str) -> object:
        found = as_path.parse(text)
        try:
            is_file = isinstance(found, Path) and found.is_file()
        except OSError as error:
            raise ValueError(f"{text} cannot be looked at: {error.strerror}") from None
        if not is_file:
            raise ValueError(f"{text} is not a file")
        return found

    return Kind(type_name="path", allowed="a path to a file", parse=parse)


def listen_address(*, lowest_port: int = 0) -> Kind:
    """``host:port``; an IPv6 address in brackets. Port 0 is any free one, another at each start."""

    def parse(text: str) -> ListenAddress:
        host, colon, port = text.rpartition(":")
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if not colon or not bare or (":" in bare and bare == host) or not port.isdecimal():
            raise ValueError(f"{text!r} is not of the form host:port")
        if len(port) > len("65535") or int(port) > 65535:  # noqa: PLR2004 - the largest port
            raise ValueError(f"{port} is not a port")
        if int(port) < lowest_port:
            raise ValueError(f"port {port} would be another one after each start")
        return ListenAddress(host=bare, port=int(port))

    allowed = f"host:port, port {lowest_port} to 65535"
    return Kind(type_name="address", allowed=allowed, parse=parse)


def gateway_url() -> Kind:
    """The root of a ProjectX gateway; ``/api`` at its end, as some tools want it, is taken off."""

    def parse(text: str) -> str:
        return _private_url(text).removesuffix("/api").rstrip("/")

    allowed = (
        "https:// and a host, or http:// and this machine, without user or query; /api at its end "
        "is taken off"
    )
    return Kind(type_name="URL", allowed=allowed, parse=parse)


def hub_url() -> Kind:
    """A SignalR hub."""
    allowed = (
        "https:// and a host and path, or http:// and this machine (not ws://, the hub chooses "
        "that itself)"
    )
    return Kind(type_name="URL", allowed=allowed, parse=_private_url)


def folder_or_url() -> Kind:
    """A folder, or an address that takes what is sent to it."""
    as_path = path()

    def parse(text: str) -> object:
        return _http_url(text) if "://" in text else as_path.parse(text)

    return Kind(
        type_name="path or URL",
        allowed="a path, or http:// or https:// and a host, without user or query",
        parse=parse,
    )


def vault_url() -> Kind:
    """An Azure key vault: its root, always over TLS."""

    def parse(text: str) -> str:
        url = _http_url(text)
        parts = urlsplit(url)
        if parts.scheme != "https":
            raise ValueError("its scheme is not https: the secrets would travel readable")
        if parts.path:
            raise ValueError("it has a path; a secret's name is AZURE_KEY_VAULT_SECRET")
        return url

    return Kind(
        type_name="URL",
        allowed="https:// and a host, such as https://my-vault.vault.azure.net",
        parse=parse,
    )


def text_of(pattern: str, allowed: str) -> Kind:
    """A name of somebody else's; its faults do not repeat it: a secret may stand there instead."""
    form = re.compile(pattern)

    def parse(text: str) -> str:
        if not form.fullmatch(text):
            raise ValueError("the value is not such a name")
        return text

    return Kind(type_name="name", allowed=allowed, parse=parse)


def names() -> Kind:
    """Names of plug-ins, separated by commas."""

    def parse(text: str) -> tuple[str, ...]:
        found = tuple(part.strip() for part in text.split(","))
        if not all(_PLUG_IN.fullmatch(name) for name in found):
            raise ValueError("one of them is no name of an entry point")
        if len(set(found)) != len(found) or len(found) > MAX_VAULTS:
            raise ValueError(f"there are more than {MAX_VAULTS}, or one stands there twice")
        return found

    return Kind(
        type_name="list",
        allowed=f"up to {MAX_VAULTS} different names with commas between them",
        parse=parse,
    )


def credential() -> Kind:
    """A secret; its faults never repeat it."""

    def parse(text: str) -> Secret:
        fault = credential_fault(text)
        if fault is not None:
            raise ValueError(f"the value {fault}")
        return Secret(text)

    return Kind(type_name="secret", allowed="the value itself", parse=parse, secret=True)


def alert_urls() -> Kind:
    """Addresses of alert channels; they hold tokens, so they are secrets."""

    def parse(text: str) -> tuple[Secret, ...]:
        urls = text.replace(",", " ").split()
        if len(urls) > MAX_ALERT_URLS:
            raise ValueError(f"there are {len(urls)} addresses")
        for number, url in enumerate(urls, start=1):
            fault = _alert_url_fault(url)
            if fault:
                raise ValueError(
                    f"address {number} of {len(urls)} {fault}, so nobody is called by it"
                )
        return tuple(Secret(url) for url in urls)

    allowed = (
        f"up to {MAX_ALERT_URLS} Apprise URLs with spaces or commas between them, such as "
        "discord://ID/TOKEN or json://HOST:PORT/PATH (https://appriseit.com has all); "
        "'backstop alerts test' tries them"
    )
    return Kind(type_name="list of secrets", allowed=allowed, parse=parse, secret=True)


def _alert_url_fault(url: str) -> str:
    """Return what is wrong with the scheme of an alert address; its rest may be a secret."""
    scheme = scheme_of(url)
    if not scheme:
        return "has no scheme such as discord://"
    if is_service(scheme):
        return ""
    meant = similar(scheme)
    hint = f" ({meant}:// perhaps)" if meant else ""
    return f"has the scheme {scheme}://, which no service goes by{hint}"


def _decimal(text: str) -> Decimal:
    # No exponents, no NaN, no infinity, no digits of other scripts: what people write as a number.
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text!r} is not a number")
    return Decimal(text)


def _private_url(text: str) -> str:
    """Return ``text`` as ``_http_url`` does; refuse one that would carry credentials readably."""
    url = _http_url(text)
    if urlsplit(url).scheme == "http" and not is_loopback_url(url):
        raise ValueError("it is http:// to another machine: the credentials would travel readable")
    return url


def _http_url(text: str) -> str:
    """Return ``text`` without a slash at its end; faults do not repeat it: it may hold a token."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("it is not a URL") from None
    if parts.scheme not in {"http", "https"}:
        raise ValueError(f"its scheme is {parts.scheme!r}" if parts.scheme else "it has no scheme")
    if not host or port == 0 or any(c.isspace() or not c.isprintable() for c in text):
        raise ValueError("it has no usable host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("it has a user or a password in it")
    if parts.query or parts.fragment:
        raise ValueError("it has a query or a fragment")
    return text.rstrip("/")
