"""Two keys, both turned, and a system that is not just watching: only then is anything sent."""

import pytest

from backstop.core.policy import Policy


def test_nothing_is_sent_by_default() -> None:
    assert not Policy(account_id=1).sends


@pytest.mark.parametrize(
    ("dry_run", "execute", "observe_only", "sends"),
    [
        (False, True, False, True),
        (True, True, False, False),
        (False, False, False, False),
        (False, True, True, False),
    ],
)
def test_sending_takes_both_keys_and_more_than_watching(
    *, dry_run: bool, execute: bool, observe_only: bool, sends: bool
) -> None:
    policy = Policy(account_id=1, dry_run=dry_run, execute=execute, observe_only=observe_only)

    assert policy.sends is sends
