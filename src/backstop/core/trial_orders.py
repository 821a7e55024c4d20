"""Trials of the limits on an order itself: its numbers, its legs, its size and its price."""

from collections.abc import Iterator
from decimal import Decimal
from math import ceil

from msgspec.structs import replace

from backstop.core.book import Book
from backstop.core.order_limits import FAR_TIMES, PPM
from backstop.core.policy import Policy
from backstop.core.trial_book import (
    CONTRACT,
    PRICE,
    TICK,
    TICK_VALUE_MICROS,
    Trial,
    an_order,
    as_it_is,
    holding,
)
from backstop.domain.denial import DenialCode
from backstop.domain.events import OrderRequested
from backstop.domain.order import OrderType, Side

RISK_TICKS = 4000
"""Of the trial of the reward: large, so that the smallest multiple has a target in whole ticks."""


def order_trials(policy: Policy) -> Iterator[Trial]:
    """Yield an order for each limit that looks at the order alone."""
    for limit, code, wish in (
        *_shapes(),
        *_legs(policy),
        *_sizes(policy),
        *_prices(policy),
    ):
        yield Trial(limit=limit, code=code, policy=policy, wish=wish, prepare=as_it_is)
    yield Trial(
        limit="BACKSTOP_INSTRUMENTS",
        code=DenialCode.INSTRUMENT_NOT_ALLOWED,
        policy=policy,
        wish=an_order(),
        prepare=_with_a_root_that_no_list_has,
    )
    if policy.is_drop_copy:
        yield Trial(
            limit="BACKSTOP_MODE",
            code=DenialCode.MODE_DROP_COPY,
            policy=policy,
            wish=an_order(),
            prepare=as_it_is,
        )
    if not policy.allow_flip:
        yield Trial(
            limit="ALLOW_FLIP",
            code=DenialCode.POSITION_FLIP,
            policy=policy,
            wish=an_order(quantity=2),
            prepare=holding(-1),
        )


_Case = tuple[str, DenialCode, OrderRequested]


def _shapes() -> Iterator[_Case]:
    yield "NUMBERS", DenialCode.QUANTITY_INVALID, an_order(quantity=0)
    yield "NUMBERS", DenialCode.PRICE_INVALID, an_order(limit_price=Decimal(0))


def _legs(policy: Policy) -> Iterator[_Case]:
    beyond_stop = an_order(stop_loss_price=PRICE + TICK)
    yield "BRACKETS", DenialCode.BRACKET_STOP_SIDE, beyond_stop
    beyond_target = an_order(take_profit_price=PRICE - TICK)
    yield "BRACKETS", DenialCode.BRACKET_TARGET_SIDE, beyond_target
    if policy.min_r_multiple is not None:
        reward_ticks = ceil(policy.min_r_multiple * RISK_TICKS) - 1
        too_little = an_order(
            stop_loss_price=PRICE - RISK_TICKS * TICK,
            take_profit_price=PRICE + reward_ticks * TICK,
        )
        yield "MIN_R_MULTIPLE", DenialCode.R_MULTIPLE_TOO_LOW, too_little
    if policy.stop_required:
        bare = an_order(
            type=OrderType.MARKET, limit_price=None, stop_loss_price=None, take_profit_price=None
        )
        # Without a market nobody can say where the stop of the settings would be.
        yield "STOP_REQUIRED", DenialCode.STOP_REQUIRED, replace(bare, reference=None)


def _sizes(policy: Policy) -> Iterator[_Case]:
    too_many = an_order(quantity=policy.max_order_quantity + 1)
    yield "MAX_ORDER_QUANTITY", DenialCode.SIZE_TOO_LARGE, too_many
    if policy.max_order_notional_micros is not None:
        each_micros = int(PRICE / TICK) * TICK_VALUE_MICROS
        too_dear = an_order(quantity=policy.max_order_notional_micros // each_micros + 1)
        yield "MAX_ORDER_NOTIONAL", DenialCode.NOTIONAL_TOO_LARGE, too_dear


def _prices(policy: Policy) -> Iterator[_Case]:
    """Yield prices one tick outside the collar: through the market, and too far from it."""
    if policy.price_collar_ppm is None:
        return
    near_ticks = int(PRICE / TICK) * policy.price_collar_ppm // PPM
    for side in Side:
        through = PRICE + side.sign * (near_ticks + 1) * TICK
        far = PRICE - side.sign * ((near_ticks + 1) * FAR_TIMES) * TICK
        for price in (through, far):
            if price > 0:
                wish = an_order(
                    side=side, limit_price=price, stop_loss_price=None, take_profit_price=None
                )
                yield "PRICE_COLLAR_PERCENT", DenialCode.PRICE_COLLAR, wish


def _with_a_root_that_no_list_has(book: Book) -> None:
    book.instruments[CONTRACT] = replace(book.instruments[CONTRACT], symbol="?")
