"""Tells people of a liquidation that runs without a guard, beside the path that decides.

The same courier process that a guard uses delivers; it is waited for only when all is over, and
not for long. Whether anybody hears of it changes nothing about what is done.
"""

import asyncio
from collections.abc import Callable, Sequence

from backstop.adapters.alert_courier import AlertCourier, Delivery, Letter
from backstop.config.secret import Secret
from backstop.domain.alert_code import with_page
from backstop.domain.commands import RaiseAlert
from backstop.errors import AlertCourierError

LETTERS_MAX = 100
"""One run has a handful of them; what comes on top is on the terminal and in the record."""

BODY_CHARACTERS_MAX = 2_000

Say = Callable[[str], None]


class AlertPost:
    """Hands alerts to the courier; without addresses it does nothing at all."""

    def __init__(
        self,
        urls: Sequence[Secret],
        *,
        account_id: int,
        say: Say,
        redact: Callable[[str], str] = str,
    ) -> None:
        """Prepare; ``start`` begins.

        Args:
            urls: Apprise URLs; they may carry secrets.
            account_id: named in each title.
            say: takes a line for people.
            redact: strikes secrets out of what is sent.
        """
        self._urls = tuple(urls)
        self._account_id = account_id
        self._say = say
        self._redact = redact
        self._letters: asyncio.Queue[Letter | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._put = 0
        self._delivered: set[int] = set()  # numbers of letters that some service took
        self._faults: dict[str, None] = {}

    def start(self) -> None:
        """Begin to deliver."""
        if self._urls:
            self._task = asyncio.create_task(self._run(), name="alerts")

    def put(self, alert: RaiseAlert) -> None:
        """Take an alert; never blocks."""
        if self._task is None or self._put >= LETTERS_MAX:
            return
        self._put += 1
        self._letters.put_nowait(
            Letter(
                alert_id=self._put,
                severity=alert.severity,
                title=f"Backstop {self._account_id}: {alert.severity} {alert.code}",
                body=with_page(
                    alert.code, self._redact(alert.message), characters_max=BODY_CHARACTERS_MAX
                ),
            )
        )

    async def end(self, *, limit_s: float) -> None:
        """Wait until all is delivered, at most ``limit_s``, and say what nobody took."""
        if self._task is None:
            return
        self._letters.put_nowait(None)
        await asyncio.wait((self._task,), timeout=limit_s)
        if not self._task.done():
            self._faults[f"no end within {limit_s:.0f} s"] = None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        for fault in self._faults:
            self._say(f"ALERT NOT DELIVERED: {fault}.")
        if self._put and not self._delivered:
            self._say(
                "Nobody was told through BACKSTOP_ALERT_URLS. What was done does not depend on it; "
                "try the addresses with: backstop alerts test"
            )

    async def _run(self) -> None:
        try:
            async with AlertCourier.start([url.reveal() for url in self._urls]) as courier:
                reading = asyncio.create_task(self._book(courier))
                try:
                    while (letter := await self._letters.get()) is not None:
                        await courier.send(letter)
                    courier.finish()
                    await reading
                finally:
                    reading.cancel()
        except AlertCourierError as error:
            self._faults[str(error)] = None

    async def _book(self, courier: AlertCourier) -> None:
        async for delivery in courier.deliveries():
            if delivery.delivered:
                self._delivered.add(delivery.alert_id)
            else:
                self._faults[_words(delivery)] = None


def _words(delivery: Delivery) -> str:
    """Return what may be shown of a failed try: never the address."""
    return f"channel {delivery.channel} ({delivery.service}): {delivery.fault}"
