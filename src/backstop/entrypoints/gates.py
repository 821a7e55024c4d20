"""The two keys in words: what a person who looks at a guard must see first."""

from msgspec import Struct

from backstop.adapters.loopback import is_loopback_host
from backstop.core.policy import Policy
from backstop.domain.external import GuardMode

DRY_RUN_BANNER = "DRY RUN: NOTHING IS SENT"
EXECUTE_OFF_BANNER = "EXECUTE IS OFF: NOTHING IS SENT"
OBSERVE_ONLY_BANNER = "OBSERVE ONLY: NOTHING IS SENT"

COMMAND_THAT_SENDS = "DRY_RUN=0 EXECUTE=1 backstop liquidate --yes"
"""What a person types to take the account flat who has just been told that nothing was sent; a
guard in dry run has to be restarted with the same settings first."""

SWITCH_THAT_SENDS = "CRITICAL_SYSTEM_ENABLE=1"
"""Needed as well where the guard only observes."""


class Gates(Struct, frozen=True, kw_only=True):
    """The two keys, and whether orders leave; ``banner`` says it in words.

    ``gateway`` is the host that orders go to, ``real`` says that it is not this machine.
    ``warnings`` name the settings that take protection away, and what was perhaps not meant.
    ``mode`` says who sends entries: as a drop copy a bot does, and this guard sends none.
    """

    mode: GuardMode
    dry_run: bool
    execute: bool
    observe_only: bool
    sends: bool
    banner: str
    gateway: str
    real: bool
    warnings: tuple[str, ...] = ()


def gates(policy: Policy, *, gateway: str, warnings: tuple[str, ...] = ()) -> Gates:
    """Return the state of the two keys in front of ``gateway`` (host, with its port if any)."""
    real = not is_loopback_host(_bare(gateway))
    if policy.observe_only:
        banner = OBSERVE_ONLY_BANNER
    elif policy.dry_run:
        banner = DRY_RUN_BANNER
    elif not policy.execute:
        banner = EXECUTE_OFF_BANNER
    else:
        orders = "REAL ORDERS" if real else "ORDERS"
        orders = f"NO ENTRIES, BUT {orders}" if policy.is_drop_copy else orders
        banner = f"SENDING: {orders} GO TO {gateway}, ACCOUNT {policy.account_id}"
    return Gates(
        mode=policy.mode,
        dry_run=policy.dry_run,
        execute=policy.execute,
        observe_only=policy.observe_only,
        sends=policy.sends,
        banner=banner,
        gateway=gateway,
        real=real,
        warnings=warnings,
    )


def _bare(host: str) -> str:
    """Return a host without its port and without the brackets of an IPv6 address."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
