"""What others ask for must be readable in the record, or it is refused before it gets there."""

from decimal import Decimal
from typing import Any

import pytest

from backstop.app.codec import encode, recordable
from backstop.core.record_fold import decode_fact
from backstop.domain.events import Event, HaltRequested, OrderRequested, StrategySaved
from backstop.domain.order import OrderRequest, OrderType, Side
from backstop.domain.record_kind import RecordKind
from backstop.errors import DomainError
from backstop.ports import JournalRecord


def a_wish(**changes: Any) -> OrderRequested:
    members: dict[str, Any] = {
        "client_order_id": "c1",
        "symbol": "MES",
        "side": Side.BUY,
        "quantity": 1,
        "type": OrderType.LIMIT,
        "limit_price": Decimal("5000.25"),
    }
    return OrderRequested(utc_us=1, request=OrderRequest(**(members | changes)))


@pytest.mark.parametrize(
    ("wish", "member"),
    [
        (a_wish(quantity=1.5), "quantity"),
        (a_wish(quantity=float("nan")), "quantity"),
        (a_wish(quantity=Decimal("1.5")), "quantity"),
        (a_wish(quantity=True), "quantity"),
        (a_wish(quantity=None), "quantity"),
        (a_wish(side="LONG"), "side"),
        (a_wish(limit_price="cheap"), "limit_price"),
        (a_wish(client_order_id=7), "client_order_id"),
        (a_wish(strategy_id=object()), "type object"),
        (a_wish(client_order_id="\ud800"), "surrogates"),
        (HaltRequested(utc_us=1, reason=None, operator="Ada"), "reason"),  # type: ignore[arg-type]
        (StrategySaved(utc_us=1, strategy_id="s", state={"mean": 1.5}), "state"),  # type: ignore[dict-item]
    ],
)
def test_what_the_record_could_not_read_back_is_refused_by_its_name(
    wish: Event, member: str
) -> None:
    with pytest.raises(DomainError, match=member):
        recordable(wish)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ({"limit_price": 5000.1}, Decimal("5000.1")),
        ({"limit_price": 5000}, Decimal(5000)),
        ({"limit_price": "5000.25"}, Decimal("5000.25")),
    ],
)
def test_a_price_becomes_the_number_that_was_written(written: Any, read: Decimal) -> None:
    assert recordable(a_wish(**written)).request.limit_price == read


def test_a_float_that_is_no_number_does_not_become_no_price() -> None:
    """JSON has no word for it, and a stop that silently vanished would leave a position naked."""
    stop = recordable(a_wish(stop_loss_price=float("nan"))).request.stop_loss_price

    assert stop is not None
    assert stop.is_nan()


def test_plain_words_become_the_words_of_the_trade() -> None:
    request = recordable(a_wish(side="SELL", type="LIMIT")).request

    assert (request.side, request.type) == (Side.SELL, OrderType.LIMIT)
    assert isinstance(request.side, Side)


def test_a_sound_wish_is_what_the_record_reads_back() -> None:
    wish = a_wish()
    record = JournalRecord(
        seq=1, kind=RecordKind.EVENT, monotonic_ns=1, utc_us=1, payload=encode(recordable(wish))
    )

    assert recordable(wish) == wish == decode_fact(record)
