"""When contract months end, against the dates that the exchange published."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from backstop.adapters.contract_expiry import LEAVE_BEFORE_US, contract_ends
from backstop.domain.instrument import Instrument


def a_month(contract_id: str, symbol: str) -> Instrument:
    return Instrument(
        contract_id=contract_id,
        symbol=symbol,
        name="any",
        tick_size=Decimal("0.25"),
        tick_value_micros=1_250_000,
    )


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("contract_id", "symbol", "last_date", "trading_ends"),
    [
        ("CON.F.US.EP.Z26", "ES", "2026-12-18", "2026-12-18T14:30:00"),
        ("CON.F.US.MES.H26", "MES", "2026-03-20", "2026-03-20T13:30:00"),  # summer time
        ("CON.F.US.ENQ.M26", "NQ", "2026-06-18", "2026-06-18T13:30:00"),  # a holiday that Friday
        ("CON.F.US.CLE.Z25", "CL", "2025-11-20", "2025-11-20T19:30:00"),
        ("CON.F.US.CLE.F26", "CL", "2025-12-19", "2025-12-19T19:30:00"),  # the 25th is a holiday
        ("CON.F.US.MCLE.Z25", "MCL", "2025-11-19", "2025-11-19T19:30:00"),
        ("CON.F.US.EU6.Z25", "6E", "2025-12-15", "2025-12-15T15:16:00"),
        ("CON.F.US.GCE.Z25", "GC", "2025-11-26", "2025-11-26T22:00:00"),  # notice on the 28th
        ("CON.F.US.TYA.Z25", "ZN", "2025-11-26", "2025-11-26T22:00:00"),
    ],
)
def test_a_month_is_left_before_trading_or_delivery(
    contract_id: str, symbol: str, last_date: str, trading_ends: str
) -> None:
    (end,) = contract_ends([a_month(contract_id, symbol)])

    assert end.contract_id == contract_id
    assert end.last_date == last_date
    assert end.ends_utc_us == us(trading_ends)
    assert end.flat_by_utc_us == us(trading_ends) - LEAVE_BEFORE_US
    assert end.entries_until_utc_us < end.flat_by_utc_us


def test_entries_end_when_the_last_session_begins() -> None:
    (end,) = contract_ends([a_month("CON.F.US.EP.Z26", "ES")])

    assert end.entries_until_utc_us == us("2026-12-17T23:00:00")


@pytest.mark.parametrize(
    ("contract_id", "symbol"),
    [
        ("CON.F.US.EP", "ES"),
        ("CON.F.US.EP.A26", "ES"),
        ("CON.F.US.EP.Z44", "ES"),
        ("CON.F.US.EP.H25", "ES"),
        ("CON.F.US.SIE.Z26", "SI"),
    ],
)
def test_what_nobody_knows_the_end_of_has_none(contract_id: str, symbol: str) -> None:
    assert contract_ends([a_month(contract_id, symbol)]) == ()
