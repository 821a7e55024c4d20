"""Delivers alerts, in a process of its own: the other end of ``adapters.alert_courier``."""

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from backstop.adapters.alert_courier import Addresses, Delivery, Letter
from backstop.adapters.stop_signals import ignore_stop_signals
from backstop.adapters.unblocked_output import unblock_output
from backstop.domain.commands import Severity
from backstop.entrypoints.alert_reach import Lookout

DELIVERIES_AT_ONCE = 4
"""A service that hangs must not hold up the others."""

_say_lock = Lock()


class Channel(NamedTuple):
    """One service that takes alerts."""

    number: int
    service: str
    sender: Any


def say(delivery: Delivery) -> None:
    """Write one line; deliveries end on several threads."""
    with _say_lock:
        sys.stdout.buffer.write(msgspec.json.encode(delivery) + b"\n")
        sys.stdout.buffer.flush()


def opened(urls: Sequence[str]) -> list[Channel]:
    """Return the channels that can be used, and say which cannot."""
    import apprise  # noqa: PLC0415 - 400 ms; nobody who only wants the types should pay for it

    channels: list[Channel] = []
    for number, url in enumerate(urls, start=1):
        service = urlsplit(url).scheme or "unknown"
        sender = apprise.Apprise.instantiate(url, suppress_exceptions=True)
        if sender is None:
            say(
                Delivery(
                    alert_id=0,
                    channel=number,
                    service=service,
                    delivered=False,
                    fault=f"its address ({service}://) is none that is understood; "
                    "https://appriseit.com has the form of each",
                )
            )
            continue
        channels.append(Channel(number, service, sender))
    return channels


def say_reach(channel: Channel, fault: str) -> None:
    """Write whether a channel can be reached."""
    say(
        Delivery(
            alert_id=0,
            channel=channel.number,
            service=channel.service,
            delivered=not fault,
            fault=fault,
            reach=True,
        )
    )


def deliver(channel: Channel, letter: Letter) -> bool:
    """Try one channel, and say what became of it."""
    urgent = letter.severity is Severity.CRITICAL
    fault = ""
    try:
        taken = channel.sender.notify(
            title=letter.title, body=letter.body, notify_type="failure" if urgent else "warning"
        )
        if not taken:
            fault = "the service did not take it"
    except Exception as error:  # noqa: BLE001 - a plugin of others may raise anything; the next one is tried
        taken, fault = False, type(error).__name__
    say(
        Delivery(
            alert_id=letter.alert_id,
            channel=channel.number,
            service=channel.service,
            delivered=bool(taken),
            fault=fault,
        )
    )
    return bool(taken)


def to_the_first(channels: Sequence[Channel], letter: Letter) -> None:
    """Try the channels in their order until one takes it."""
    for channel in channels:
        if deliver(channel, letter):
            return


def main() -> int:
    """Read addresses, then alerts, until there is nothing more to read."""
    ignore_stop_signals()  # it ends with the lines: whoever writes them says when
    unblock_output("stderr")  # where the services' own library complains
    lines = sys.stdin.buffer
    addresses = msgspec.json.decode(lines.readline(), type=Addresses)
    channels = opened(addresses.urls)
    lookout: Lookout | None = None
    if addresses.looks_out:
        by_number = {channel.number: channel for channel in channels}
        lookout = Lookout.begin(
            {channel.number: channel.sender for channel in channels},
            lambda number, fault: say_reach(by_number[number], fault),
        )
    with ThreadPoolExecutor(max_workers=DELIVERIES_AT_ONCE) as pool:
        for line in lines:
            letter = msgspec.json.decode(line, type=Letter)
            if letter.severity is Severity.CRITICAL:
                for channel in channels:
                    pool.submit(deliver, channel, letter)
            else:
                pool.submit(to_the_first, channels, letter)
        if lookout is not None:
            lookout.end()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
