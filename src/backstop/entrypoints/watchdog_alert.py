"""Tells people what the watchdog has to say, by the same courier that the guard uses.

A process of its own: it reads the settings for the addresses, and waits for other people's servers.
"""

import asyncio
from collections.abc import Sequence

import msgspec

from backstop.adapters.alert_courier import AlertCourier, Letter
from backstop.config.settings import Settings
from backstop.domain.alert_code import with_page
from backstop.domain.commands import Severity
from backstop.entrypoints.process_words import read_words
from backstop.entrypoints.run_options import run_overrides
from backstop.entrypoints.watch_notes import AlertNote

DELIVERY_LIMIT_S = 60.0
"""How long a service may take; then somebody else has to notice."""

BODY_CHARACTERS_MAX = 2_000

WATCHDOGS_LETTER = 1
"""The guard's alerts have numbers of their own; this one is not acknowledged."""


def run(arguments: Sequence[str]) -> int:
    """Deliver one alert; ``arguments`` begin with the verb.

    Raises:
        SetupError: the settings cannot be read.
        AlertCourierError: the courier cannot be started.
    """
    given = read_words(arguments[1:])
    note = msgspec.json.decode(given.option("--note"), type=AlertNote)
    settings = Settings.load(overrides=run_overrides(given.run), require_credentials=False)
    severity = Severity.CRITICAL if note.critical else Severity.WARNING
    letter = Letter(
        alert_id=WATCHDOGS_LETTER,
        severity=severity,
        title=f"Backstop {settings.account_id}: {severity} {note.code}",
        body=with_page(
            note.code, f"The watchdog says: {note.message}.", characters_max=BODY_CHARACTERS_MAX
        ),
    )
    delivered = asyncio.run(_delivered([url.reveal() for url in settings.alert_urls], letter))
    return 0 if delivered else 1


async def _delivered(urls: Sequence[str], letter: Letter) -> bool:
    """Say whether any service took the letter in time."""
    taken = False
    async with AlertCourier.start(urls) as courier:
        await courier.send(letter)
        courier.finish()
        try:
            async with asyncio.timeout(DELIVERY_LIMIT_S):
                async for delivery in courier.deliveries():
                    taken = taken or delivery.delivered
        except TimeoutError:
            return taken
    return taken
