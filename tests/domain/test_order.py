"""Sides, states and the tag that makes an order one."""

import os
import subprocess
import sys

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from backstop.domain.order import (
    ORDER_TRANSITIONS,
    TAG_PREFIX,
    TERMINAL_STATES,
    OrderIntent,
    OrderState,
    OrderType,
    Side,
    custom_tag,
)

INTENT = OrderIntent(
    client_order_id="c1",
    account_id=42,
    contract_id="CON.F.US.MES.Z26",
    symbol="MES",
    side=Side.BUY,
    quantity=2,
    type=OrderType.LIMIT,
    limit_ticks=20_000,
)


def test_sides_have_signs_and_opposites() -> None:
    assert (Side.BUY.sign, Side.SELL.sign) == (1, -1)
    assert (Side.BUY.opposite, Side.SELL.opposite) == (Side.SELL, Side.BUY)


def test_every_state_has_its_row_and_none_follows_itself() -> None:
    assert set(ORDER_TRANSITIONS) == set(OrderState)
    assert all(state not in followers for state, followers in ORDER_TRANSITIONS.items())


def test_nothing_becomes_merely_intended_and_only_an_intent_is_sent() -> None:
    """An order that left is never sent again."""
    assert all(OrderState.INTENDED not in followers for followers in ORDER_TRANSITIONS.values())
    assert [it for it, followers in ORDER_TRANSITIONS.items() if OrderState.SENT in followers] == [
        OrderState.INTENDED
    ]


def test_only_what_was_never_seen_can_turn_out_not_to_have_arrived() -> None:
    before = [it for it, to in ORDER_TRANSITIONS.items() if OrderState.NOT_SUBMITTED in to]

    assert before == [OrderState.INTENDED, OrderState.SENT, OrderState.UNKNOWN]


@pytest.mark.parametrize("state", sorted(TERMINAL_STATES))
def test_a_trade_reopens_every_finished_order(state: OrderState) -> None:
    assert OrderState.FILLED in ORDER_TRANSITIONS[state] | {state}
    assert OrderState.PARTIALLY_FILLED in ORDER_TRANSITIONS[state]


def test_the_tag_is_pinned() -> None:
    """A tag that changes with a version would let a restart send an order twice."""
    assert custom_tag(INTENT) == "bs-jzq7dsrcxwopb6w2dbvbobghcm"


def test_the_tag_leaves_room_for_the_names_of_legs() -> None:
    tag = custom_tag(INTENT)

    assert tag.startswith(TAG_PREFIX)
    assert len(tag) == len(TAG_PREFIX) + 26
    assert tag[len(TAG_PREFIX) :].isalnum()


@pytest.mark.parametrize("seed", ["0", "1"])
def test_the_tag_is_the_same_in_every_process(seed: str) -> None:
    script = (
        "import sys, msgspec\n"
        "from backstop.domain.order import OrderIntent, custom_tag\n"
        "print(custom_tag(msgspec.json.decode(sys.argv[1], type=OrderIntent)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, msgspec.json.encode(INTENT).decode()],
        env=os.environ | {"PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert done.stdout.strip() == custom_tag(INTENT)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "client_order_id": st.text(min_size=1),
            "account_id": st.integers(1, 2**31),
            "quantity": st.integers(1, 100),
            "side": st.sampled_from(Side),
            "limit_ticks": st.none() | st.integers(1, 10**6),
            "stop_loss_ticks": st.none() | st.integers(1, 10**6),
            "strategy_id": st.none() | st.text(),
        },
    )
)
def test_another_intent_has_another_tag(changes: dict[str, object]) -> None:
    other = replace(INTENT, **changes)

    assert (custom_tag(other) == custom_tag(INTENT)) is (other == INTENT)
