"""Hands alerts to the courier, in order, without ever holding up the guard.

Alerts wait in a bounded queue. Many of one code within a short time become one letter that says how
many there were, so that a flood cannot bury what matters or have a service block us. Only repeats
wait for that: what is more severe than all that was sent of its code goes at once.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from backstop.adapters.alert_courier import AlertCourier, Delivery, Letter
from backstop.config.secret import Secret
from backstop.core.start_findings import unreached_words
from backstop.domain.alert_code import AlertCode, with_page
from backstop.domain.commands import RaiseAlert, Severity
from backstop.errors import AlertCourierError
from backstop.ports import Clock

LETTERS_WAITING_MAX = 200
"""Alerts that wait for the courier; at the limit the oldest that is not critical goes first."""

GATHER_NS = 30 * 1_000_000_000
"""Further alerts of a code that was just sent are gathered this long into one letter."""

RESTART_PAUSE_S = 1.0
RESTART_PAUSE_MAX_S = 60.0
"""Pauses between starts of a courier that ends by itself; they double."""

BODY_CHARS_MAX = 2_000
DELIVERIES_KEPT = 1_000


_RANK = {severity: rank for rank, severity in enumerate(Severity)}
"""The mildest first, as they are declared."""


@dataclass(slots=True)
class _Gathered:
    """Alerts of one code since a letter about it went out."""

    sent: Severity  # the most severe that went out
    due_ns: int
    worst: RaiseAlert | None = None  # of those that wait; the newest of equals
    count: int = 0

    def is_repeat(self, alert: RaiseAlert) -> bool:
        return _RANK[alert.severity] <= _RANK[self.sent]

    def add(self, alert: RaiseAlert) -> None:
        self.count += 1
        if self.worst is None or _RANK[alert.severity] >= _RANK[self.worst.severity]:
            self.worst = alert


class AlertDesk:
    """Sends alerts to ``urls``; ``run`` beside the guard."""

    def __init__(
        self,
        *,
        urls: Sequence[Secret],
        account: str,
        clock: Clock,
        on_fault: Callable[[str], None],
        redact: Callable[[str], str] = str,
        on_unreached: Callable[[int, str, str], None] = lambda _channel, _service, _reason: None,
    ) -> None:
        """Prepare; ``run`` delivers.

        Args:
            urls: Apprise URLs.
            account: named in each title.
            clock: for what is gathered.
            on_fault: hears why alerts do not arrive; empty: they do.
            redact: strikes secrets out of what is sent.
            on_unreached: hears of a channel that could not be reached at the start: its number,
                its service and why.
        """
        self.deliveries: OrderedDict[int, tuple[Delivery, ...]] = OrderedDict()
        self.dropped = 0
        self._urls = tuple(urls)
        self._account = account
        self._clock = clock
        self._on_fault = on_fault
        self._redact = redact
        self._on_unreached = on_unreached
        self._unreached: dict[int, str] = {}  # by channel: words for people
        self._faults: dict[int, str] = {}  # by channel; 0 is the courier itself
        self._waiting: OrderedDict[int, Letter] = OrderedDict()
        self._next = 0
        self._gathered: dict[str, _Gathered] = {}
        self._arrived = asyncio.Event()

    @property
    def channels(self) -> int:
        """How many addresses there are."""
        return len(self._urls)

    @property
    def unreached(self) -> tuple[str, ...]:
        """Which channels cannot be reached, although nothing was to be sent yet; for people."""
        return tuple(self._unreached.values())

    def put(self, alert: RaiseAlert) -> None:
        """Take an alert; never blocks."""
        if not self._urls or self._is_hopeless(alert):
            return
        self._flush_gathered()
        gathered = self._gathered.get(alert.code)
        if gathered is None:
            due_ns = self._clock.monotonic_ns() + GATHER_NS
            self._gathered[alert.code] = _Gathered(sent=alert.severity, due_ns=due_ns)
            self._enqueue(alert)
        elif gathered.is_repeat(alert):
            gathered.add(alert)
        else:
            gathered.sent = alert.severity
            self._enqueue(alert)
        self._arrived.set()

    def _is_hopeless(self, alert: RaiseAlert) -> bool:
        """Say whether an alert of dead channels has no other to go out by."""
        is_about_them = alert.code == AlertCode.ALERT_CHANNEL_UNREACHED
        return is_about_them and len(self._unreached) == len(self._urls)

    def _enqueue(self, alert: RaiseAlert, *, more: int = 0) -> None:
        reminder = f" (reminder {alert.repeat})" if alert.repeat else ""
        body = alert.message
        if more > 1:
            body = f"{more} more of these; the newest of the most severe: {body}"
        letter = Letter(
            alert_id=alert.alert_id,
            severity=alert.severity,
            title=f"Backstop {self._account}: {alert.severity} {alert.code}{reminder}",
            body=with_page(alert.code, self._redact(body), characters_max=BODY_CHARS_MAX),
        )
        self._next += 1
        self._waiting[self._next] = letter
        if len(self._waiting) > LETTERS_WAITING_MAX:
            mild = (k for k, v in self._waiting.items() if v.severity is not Severity.CRITICAL)
            del self._waiting[next(mild, next(iter(self._waiting)))]
            self.dropped += 1

    async def run(self) -> None:
        """Deliver until cancelled; a courier that ends is started again.

        At the end it is given what waits, and delivers that by itself: no stop waits for a service.
        """
        if self._urls:
            try:
                await self._deliver()
            finally:
                self._say_left()

    async def _deliver(self) -> None:
        pause_s = RESTART_PAUSE_S
        while True:
            began_ns = self._clock.monotonic_ns()
            try:
                courier = AlertCourier.start([url.reveal() for url in self._urls], looks_out=True)
                await self._serve(courier)
            except AlertCourierError as error:
                self._tell(0, f"the courier is down: {error}")
            if self._clock.monotonic_ns() - began_ns > RESTART_PAUSE_MAX_S * 1e9:
                pause_s = RESTART_PAUSE_S
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RESTART_PAUSE_MAX_S)

    async def _serve(self, courier: AlertCourier) -> None:
        reading = asyncio.create_task(self._book_deliveries(courier), name="alert deliveries")
        try:
            self._tell(0, "")
            while not reading.done():
                self._flush_gathered()
                await self._send_waiting(courier)
                self._arrived.clear()
                await self._arrived_or(reading)
            await reading
        except asyncio.CancelledError:
            self._flush_gathered(all_of_it=True)
            if await courier.leave(self._waiting.values()):
                self._waiting.clear()
            raise
        except AlertCourierError:
            await courier.leave()
            raise
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _send_waiting(self, courier: AlertCourier) -> None:
        while self._waiting:
            place, letter = self._waiting.popitem(last=False)
            try:
                await courier.send(letter)
            except AlertCourierError:
                self._waiting[place] = letter  # the next courier has it first
                self._waiting.move_to_end(place, last=False)
                raise

    async def _arrived_or(self, reading: "asyncio.Task[NoReturn]") -> None:
        """Wait for an alert, for the time of what is gathered, or for the end of the courier."""
        arrived = asyncio.create_task(self._arrived.wait())
        try:
            await asyncio.wait(
                (arrived, reading), timeout=self._wait_s(), return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            arrived.cancel()

    def _say_left(self) -> None:
        """Name what nobody was told of before the end; the next guard raises what is still so."""
        self._flush_gathered(all_of_it=True)
        if self._waiting:
            titles = ", ".join(letter.title for letter in self._waiting.values())
            fault = f"{len(self._waiting)} not sent before the stop: {titles}"
            self._tell(0, fault[:BODY_CHARS_MAX])

    def _wait_s(self) -> float | None:
        due = [it.due_ns for it in self._gathered.values()]
        if not due:
            return None
        return max(0, min(due) - self._clock.monotonic_ns()) / 1e9

    def _flush_gathered(self, *, all_of_it: bool = False) -> None:
        now_ns = self._clock.monotonic_ns()
        due = [code for code, it in self._gathered.items() if all_of_it or now_ns >= it.due_ns]
        for code in due:
            worst, count = self._gathered[code].worst, self._gathered[code].count
            del self._gathered[code]
            if worst is not None:
                self._gathered[code] = _Gathered(sent=worst.severity, due_ns=now_ns + GATHER_NS)
                self._enqueue(worst, more=count)

    async def _book_deliveries(self, courier: AlertCourier) -> NoReturn:
        async for delivery in courier.deliveries():
            if delivery.reach:
                self._book_reach(delivery)
                continue
            if delivery.alert_id:
                known = self.deliveries.get(delivery.alert_id, ())
                others = tuple(it for it in known if it.channel != delivery.channel)
                self.deliveries[delivery.alert_id] = (*others, delivery)
                if len(self.deliveries) > DELIVERIES_KEPT:
                    self.deliveries.popitem(last=False)
            fault = "" if delivery.delivered else delivery.fault
            if delivery.delivered:
                self._unreached.pop(delivery.channel, None)
            self._tell(delivery.channel, fault and f"channel {delivery.channel}: {fault}")
        raise AlertCourierError("it ended by itself")

    def _book_reach(self, delivery: Delivery) -> None:
        """Note whether a channel answers: a doubt, for nothing was to be delivered."""
        channel = delivery.channel
        if delivery.delivered:
            self._unreached.pop(channel, None)
            return
        is_news = channel not in self._unreached
        self._unreached[channel] = unreached_words(channel, delivery.service, delivery.fault)
        if is_news:
            self._on_unreached(channel, delivery.service, delivery.fault)

    def _tell(self, channel: int, fault: str) -> None:
        if fault:
            self._faults[channel] = fault
        else:
            self._faults.pop(channel, None)
        self._on_fault("; ".join(self._faults.values()))
