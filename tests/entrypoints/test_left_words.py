"""What is called open is open; what nobody has proven flat is not called that."""

from typing import Any

import pytest

from backstop.entrypoints.left_words import say_left


def a_position(symbol: str, quantity: int) -> dict[str, Any]:
    return {
        "kind": "POSITION",
        "symbol": symbol,
        "quantity": quantity,
        "side": None,
        "status": "STALE",
        "broker_order_id": None,
        "client_order_id": None,
    }


def test_a_position_of_no_contracts_is_not_called_open(capsys: pytest.CaptureFixture[str]) -> None:
    say_left([a_position("MES", 0)], nothing="nothing")

    said = capsys.readouterr().out
    assert "OPEN" not in said
    assert said.startswith("MES: nothing is known to be open, but no reads have proven it")


def test_what_is_open_is_listed_beside_what_is_not_proven(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say_left([a_position("MNQ", -2), a_position("MES", 0)], nothing="nothing")

    head, row, unproven = capsys.readouterr().out.splitlines()
    assert head.startswith("STILL OPEN")
    assert row.split() == ["position", "MNQ", "-2", "-", "STALE", "-"]
    assert unproven.startswith("MES: ")


def test_where_nothing_is_left_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    say_left([], nothing="nothing is open")

    assert capsys.readouterr().out == "nothing is open\n"
