"""Notices a changed credential while the guard runs, and goes on with it.

Every source is asked again from time to time, and at once when the gateway refuses the key. A
changed key is tried beside the session that is in use: only when the gateway accepts it does the
session change, once for all, and the hubs follow its token. Inside a liquidation nothing is
changed that works.
"""

import asyncio
from collections.abc import Callable

from backstop.adapters.projectx.session import Session
from backstop.app.daemon_thread import in_daemon_thread
from backstop.config.credential_manager import API_KEY, EMERGENCY_API_KEY, JWT, CredentialManager
from backstop.config.secret import Secret
from backstop.errors import CredentialError, GatewayError, LoginRefusedError

LOOK_EVERY_S = 60.0
"""A revoked key has usually a time of grace; vaults count and bill their reads."""

LOOK_AGAIN_S = 5.0
"""While the key is refused: somebody may be storing a new one just now."""

NAMES = (API_KEY, JWT, EMERGENCY_API_KEY)


class CredentialRotation:
    """Keeps a session's credentials those that the sources have; ``run`` beside the guard."""

    def __init__(
        self,
        *,
        manager: CredentialManager,
        session: Session,
        held: dict[str, Secret | None],
        is_refused: Callable[[], bool],
        may_change: Callable[[], bool],
        on_secret: Callable[[Secret], None],
        on_fault: Callable[[str], None],
        look_every_s: float = LOOK_EVERY_S,
        look_again_s: float = LOOK_AGAIN_S,
    ) -> None:
        """Prepare; nothing is asked before ``run``.

        Args:
            manager: is asked in a thread; a vault may take seconds.
            session: gets what has changed.
            held: the credentials that are in use, by name.
            is_refused: whether the gateway refuses the key now.
            may_change: says no while a liquidation runs.
            on_secret: hears every new secret before it is used, to strike it out of what is told.
            on_fault: is told why a change was not taken up; empty: nothing is wrong.
            look_every_s: how often the sources are asked.
            look_again_s: how often while the key is refused.
        """
        self._manager = manager
        self._session = session
        self._held = held
        self._is_refused = is_refused
        self._may_change = may_change
        self._on_secret = on_secret
        self._on_fault = on_fault
        self._look_every_s = look_every_s
        self._look_again_s = look_again_s
        self._refused: Secret | None = None  # a changed key that the gateway did not accept

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self._until_due()
            await self.look()

    async def _until_due(self) -> None:
        """Sleep in short steps, so that a refusal is answered at once and not in a minute."""
        slept_s = 0.0
        while slept_s < self._look_every_s:
            await asyncio.sleep(min(self._look_again_s, self._look_every_s))
            slept_s += self._look_again_s
            if self._is_refused():
                return

    async def look(self) -> None:
        """Ask the sources once, and take up what has changed."""
        try:
            found = await in_daemon_thread(self._asked, name="credentials")
        except CredentialError as error:
            self._on_fault(f"{error} The one that is in use stays.")
            return
        if not self._is_refused() and not self._may_change():
            return
        changed = {name: it for name, it in found.items() if it != self._held[name]}
        fault = ""
        for name, secret in changed.items():
            self._on_secret(secret)
            fault = fault or await self._taken_up(name, secret)
        self._on_fault(fault)

    def _asked(self) -> dict[str, Secret]:
        """Return what the sources have; what they no longer have is no reason to drop it."""
        found = {name: self._manager.try_get_credential(name) for name in NAMES}
        return {name: secret for name, secret in found.items() if secret is not None}

    async def _taken_up(self, name: str, secret: Secret) -> str:
        """Go on with a changed credential; return why not, in words."""
        if name == EMERGENCY_API_KEY:
            self._session.spare_key = secret
        elif name == JWT:
            self._session.adopt_token(secret)
        elif secret == self._refused:
            return f"the changed {name} was refused; the one before stays in use"
        else:
            try:
                await self._session.adopt_key(secret)
            except LoginRefusedError as error:
                self._refused = secret  # asked once: a refused key that is hammered is locked out
                return f"the changed {name} was refused, the one before stays in use. {error}"
            except GatewayError as error:
                return f"the changed {name} cannot be tried yet. {error}"
        self._held[name] = secret
        return ""
