"""The two keys in words: what a person who looks at a guard must see first."""

from msgspec import Struct

from backstop.core.policy import Policy

DRY_RUN_BANNER = "DRY RUN: NOTHING IS SENT"
EXECUTE_OFF_BANNER = "EXECUTE IS OFF: NOTHING IS SENT"
OBSERVE_ONLY_BANNER = "OBSERVE ONLY: NOTHING IS SENT"
SENDING_BANNER = "SENDING: ORDERS GO TO THE GATEWAY"


class Gates(Struct, frozen=True, kw_only=True):
    """The two keys, and whether orders leave; ``banner`` says it in words."""

    dry_run: bool
    execute: bool
    observe_only: bool
    sends: bool
    banner: str


def gates(policy: Policy) -> Gates:
    """Return the state of the two keys."""
    if policy.observe_only:
        banner = OBSERVE_ONLY_BANNER
    elif policy.dry_run:
        banner = DRY_RUN_BANNER
    elif not policy.execute:
        banner = EXECUTE_OFF_BANNER
    else:
        banner = SENDING_BANNER
    return Gates(
        dry_run=policy.dry_run,
        execute=policy.execute,
        observe_only=policy.observe_only,
        sends=policy.sends,
        banner=banner,
    )
