"""Delivers alerts, in a process of its own: the other end of ``adapters.alert_courier``.

What it says of deliveries is all that may leave by its output: each line there is read as one. So
what a service's library prints goes where complaints go.
"""

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from threading import Lock, Timer
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import urlsplit

import msgspec

from backstop.adapters.alert_courier import Addresses, Delivery, Leave, Letter
from backstop.adapters.stop_signals import ignore_stop_signals
from backstop.adapters.unblocked_output import UnblockedOutput, unblock_output
from backstop.domain.commands import Severity
from backstop.entrypoints.alert_reach import Lookout

DELIVERIES_AT_ONCE = 4
"""A service that hangs must not hold up the others."""

Say = Callable[[Delivery], None]


class Channel(NamedTuple):
    """One service that takes alerts."""

    number: int
    service: str
    sender: Any


class Speech:
    """What is said of deliveries: one line each; they end on several threads."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._lock = Lock()

    @classmethod
    def on_output(cls) -> "Speech":
        """Keep the output of this process for it alone; others that print there complain."""
        own = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
        sys.stdout.flush()
        with suppress(OSError, ValueError):  # there may be no place for complaints
            os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        sys.stdout = sys.stderr
        return cls(own)

    def say(self, delivery: Delivery) -> None:
        """Write one line, if anybody still listens."""
        with self._lock, suppress(OSError):
            self._out.write(msgspec.json.encode(delivery) + b"\n")
            self._out.flush()


class Deliveries:
    """Letters on their way to the channels, some at once."""

    def __init__(self, channels: Sequence[Channel], say: Say) -> None:
        self._channels = channels
        self._say = say
        self._pool = ThreadPoolExecutor(max_workers=DELIVERIES_AT_ONCE)
        self._begun: list[tuple[Letter, Future[None]]] = []

    def begin(self, letter: Letter) -> None:
        """Deliver ``letter`` to every channel, or to the first that takes it."""
        self._begun = [(it, done) for it, done in self._begun if not done.done()]
        groups = [self._channels]
        if letter.severity is Severity.CRITICAL:
            groups = [(channel,) for channel in self._channels]
        for group in groups:
            done = self._pool.submit(_to_the_first, group, letter, self._say)
            self._begun.append((letter, done))

    def end_within(self, limit_s: float) -> None:
        """End this process after so many seconds, whatever is still on its way."""
        timer = Timer(limit_s, self._give_up, (limit_s,))
        timer.daemon = True
        timer.start()

    def end(self) -> None:
        """Wait until all are delivered, or could not be."""
        self._pool.shutdown()

    def _give_up(self, limit_s: float) -> None:
        titles = [letter.title for letter, done in self._begun if not done.done()]
        line = {
            "level": "error",
            "component": "[CRITICAL]",
            "event": "alerts_not_delivered",
            "message": f"not delivered within {limit_s:g} s after the guard had stopped",
            "titles": sorted(set(titles)),
        }
        sys.stderr.write(msgspec.json.encode(line).decode() + "\n")
        if isinstance(sys.stderr, UnblockedOutput):
            sys.stderr.drain()
        os._exit(1)  # threads that wait for a service would keep the process


def opened(urls: Sequence[str], say: Say) -> list[Channel]:
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


def _lookout(channels: Sequence[Channel], say: Say) -> Lookout:
    """Begin to say whether each channel can be reached."""
    by_number = {channel.number: channel for channel in channels}

    def tell(number: int, fault: str) -> None:
        say(
            Delivery(
                alert_id=0,
                channel=number,
                service=by_number[number].service,
                delivered=not fault,
                fault=fault,
                reach=True,
            )
        )

    return Lookout.begin({number: it.sender for number, it in by_number.items()}, tell)


def _deliver(channel: Channel, letter: Letter, say: Say) -> bool:
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


def _to_the_first(channels: Sequence[Channel], letter: Letter, say: Say) -> None:
    """Try the channels in their order until one takes it."""
    for channel in channels:
        if _deliver(channel, letter, say):
            return


def main() -> int:
    """Read addresses, then alerts, until there is nothing more to read."""
    ignore_stop_signals()  # it ends with the lines: whoever writes them says when
    unblock_output("stderr")  # where the services' own library complains
    say = Speech.on_output().say
    lines = sys.stdin.buffer
    addresses = msgspec.json.decode(lines.readline(), type=Addresses)
    channels = opened(addresses.urls, say)
    lookout = _lookout(channels, say) if addresses.looks_out else None
    deliveries = Deliveries(channels, say)
    for line in lines:
        word = msgspec.json.decode(line, type=Letter | Leave)
        if isinstance(word, Letter):
            deliveries.begin(word)
        else:
            deliveries.end_within(word.limit_s)
    if lookout is not None:
        lookout.end()
    deliveries.end()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
