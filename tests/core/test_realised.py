"""What the trades brought."""

from tests.core.builders import a_trade

from backstop.core.realised import RealisedResult, realised


def test_no_trades_bring_nothing() -> None:
    assert realised(()) == RealisedResult()


def test_an_opening_trade_has_costs_and_no_result() -> None:
    assert realised([a_trade(fees_micros=370_000, commissions_micros=250_000)]) == RealisedResult(
        costs_micros=620_000, trades=1
    )


def test_a_result_of_zero_is_a_closed_trade() -> None:
    assert realised([a_trade(profit_and_loss_micros=0)]).closing_trades == 1


def test_results_add_up_before_and_after_costs() -> None:
    result = realised(
        [
            a_trade(trade_id=7),
            a_trade(trade_id=8, profit_and_loss_micros=-600_000_000),
            a_trade(trade_id=9, profit_and_loss_micros=100_000_000),
        ]
    )

    assert (result.gross_micros, result.closing_trades, result.trades) == (-500_000_000, 2, 3)
    assert result.net_micros == -500_000_000 - 3 * 370_000


def test_a_voided_trade_brings_nothing_and_costs_nothing() -> None:
    assert realised([a_trade(profit_and_loss_micros=5, voided=True)]) == RealisedResult()
