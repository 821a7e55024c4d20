"""A market that trades where a test wants it, at the exchange and in what its hub tells."""

from decimal import Decimal

from backstop.adapters.projectx_server.venue import MarketEvent
from backstop.simulator.process import Simulator
from backstop.simulator.rows import hub_time


def trade_at(venue: Simulator, contract_id: str, price: Decimal) -> None:
    """Let the market trade at ``price`` for a moment; the venue's own feed goes on after it."""
    exchange = venue.exchange
    exchange.on_quote(contract_id, price, price, 500, 500, price, 500, 0)
    time = hub_time(exchange.now_us)
    data = {"symbol": contract_id, "bestBid": price, "bestAsk": price, "lastPrice": price}
    data |= {"lastUpdated": time, "timestamp": time}
    exchange.publish(MarketEvent(target="GatewayQuote", contract_id=contract_id, data=data))
