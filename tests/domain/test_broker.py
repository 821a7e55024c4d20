"""The venue's words for where an order stands."""

import pytest

from backstop.domain.broker import BrokerStatus


@pytest.mark.parametrize("status", sorted(BrokerStatus))
def test_only_what_is_known_to_be_done_is_not_live(status: BrokerStatus) -> None:
    done = {
        BrokerStatus.FILLED,
        BrokerStatus.CANCELLED,
        BrokerStatus.EXPIRED,
        BrokerStatus.REJECTED,
    }

    assert status.is_live is (status not in done)


def test_a_status_of_a_later_version_counts_as_live() -> None:
    assert BrokerStatus.UNRECOGNISED.is_live
