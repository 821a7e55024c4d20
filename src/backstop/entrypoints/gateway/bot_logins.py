"""The bots as logins of the surface: who they are, and whether a key or a token is still good."""

from collections.abc import Callable

from backstop.adapters.bot_credentials import BotCredential, BotCredentials, is_key_of
from backstop.domain.bot import BotLimits
from backstop.errors import StateFolderError

MARK_CHARS = 16
"""Of the hash of a key, in its tokens: enough to tell keys apart, and no help to find one."""


class BotLogins:
    """Reads the file of bots again whenever it was replaced: a revoked key is no good at once.

    While the file cannot be used nobody is known: what cannot be read admits no one.
    """

    def __init__(self, credentials: BotCredentials, *, on_fault: Callable[[str], None]) -> None:
        """Read now; ``on_fault`` hears why the file cannot be used, and "" once it can."""
        self._credentials = credentials
        self._on_fault = on_fault
        self._stamp: tuple[int, int, int] | None = None
        self._bots: dict[str, BotCredential] = {}
        self._read()

    def known(self, name: str) -> str | None:
        """Return the bot as written down, found without regard to case; None for a stranger."""
        bot = self._held().get(name.lower())
        return None if bot is None else bot.name

    def admits(self, user: str, key: str) -> bool:
        """Tell whether ``key`` is the one that the bot was given."""
        bot = self._held().get(user.lower())
        return bot is not None and is_key_of(bot, key)

    def mark(self, user: str) -> str | None:
        """Return what its tokens carry: another one for a bot that was made anew."""
        bot = self._held().get(user.lower())
        return None if bot is None else bot.key_sha256[:MARK_CHARS]

    def limits(self, user: str) -> BotLimits | None:
        """Return what a bot's entries are held to; None for one that was removed."""
        bot = self._held().get(user.lower())
        return None if bot is None else bot.limits

    def _held(self) -> dict[str, BotCredential]:
        if self._credentials.stamp != self._stamp:
            self._read()
        return self._bots

    def _read(self) -> None:
        # The stamp first: what is replaced while it is read is read again next time.
        self._stamp = self._credentials.stamp
        try:
            bots = self._credentials.read()
        except StateFolderError as error:
            self._bots = {}
            self._on_fault(str(error))
            return
        self._bots = {bot.name.lower(): bot for bot in bots}
        self._on_fault("")
