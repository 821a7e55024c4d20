"""An independent Python client (projectx-sdk) against a ProjectX gateway at ``GATEWAY_URL``.

Runs in an environment of its own, with the SDK's own SignalR and WebSocket libraries. Prints one
line per step and ends with 1 when one fails. With ``GATEWAY_GUARDED=1`` a guard stands there: it
takes legs away by itself, and it refuses.
"""

import os
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, TypeVar

from projectx_sdk import ProjectXClient
from projectx_sdk.realtime import SyncRealTimeClient

GATEWAY = os.environ["GATEWAY_URL"]
HUBS = GATEWAY.replace("http", "ws", 1)
GUARDED = os.environ.get("GATEWAY_GUARDED") == "1"
PASSES = ("POSITION_CLOSING", "PROTECTION_LEFTOVER", "STATE_REDUCING")
WAIT_S = 15.0
OPEN, FILLED, CANCELLED = 1, 2, 3

Result = TypeVar("Result")


class Events:
    """What the SDK's callbacks brought, from its own thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._events: list[dict[str, Any]] = []

    def take(self, *arguments: Any) -> None:
        """Keep one callback's payload, whatever the SDK wrapped it in."""
        with self._changed:
            self._events += [row for argument in arguments for row in _rows(argument)]
            self._changed.notify_all()

    def seen(self, what: str, matches: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the first row, past or future, that ``matches``."""
        with self._changed:
            found: list[dict[str, Any]] = []

            def look() -> bool:
                found[:] = [row for row in self._events if matches(row)]
                return bool(found)

            if not self._changed.wait_for(look, timeout=WAIT_S):
                raise TimeoutError(f"no {what} within {WAIT_S:g} s")
            return found[0]


class Heard:
    """The user hub's events by kind."""

    def __init__(self) -> None:
        self.orders = Events()
        self.trades = Events()
        self.positions = Events()


def _rows(argument: Any) -> list[dict[str, Any]]:
    if isinstance(argument, list | tuple):
        return [row for item in argument for row in _rows(item)]
    if isinstance(argument, dict):
        inner = argument.get("data")
        return [inner if isinstance(inner, dict) else argument]
    return []


def step(name: str, act: Callable[[], Result]) -> Result:
    """Run one step and tell how it went."""
    try:
        result = act()
    except Exception as error:  # noqa: BLE001 - whatever the foreign code raises is the finding
        fail(f"{name}: {type(error).__name__}: {error}")
    print(f"ok    independent Python client: {name}", flush=True)
    return result


def fail(what: str) -> NoReturn:
    """Tell and end; the SDK leaves threads behind that would keep the process."""
    print(f"FAIL  independent Python client: {what}", flush=True)
    os._exit(1)


def login() -> ProjectXClient:
    """Return the SDK's client, which logs in while it is built."""
    return ProjectXClient(
        username=os.environ["GATEWAY_USER"], api_key=os.environ["GATEWAY_KEY"], base_url=GATEWAY
    )


def main() -> None:
    """Walk through login, subscriptions, orders and cancels."""
    client = step("login by key", login)
    token = client.auth.get_token()
    account = step("find the account", lambda: client.accounts.search(only_active_accounts=True)[0])
    contract = step(
        "find the contract", lambda: client.contracts.search(search_text="MNQ", live=False)[0]
    )
    heard, quotes = Heard(), Events()
    realtime = SyncRealTimeClient(
        auth_token=token,
        environment="loopback",
        user_hub_url=f"{HUBS}/hubs/user",
        market_hub_url=f"{HUBS}/hubs/market",
    )
    step("connect to both hubs", lambda: connect(realtime))

    def subscribe() -> None:
        realtime.user.subscribe_accounts(lambda *_: None)
        realtime.user.subscribe_orders(account.id, heard.orders.take)
        realtime.user.subscribe_trades(account.id, heard.trades.take)
        realtime.user.subscribe_positions(account.id, heard.positions.take)
        realtime.market.subscribe_quotes(contract.id, quotes.take)

    step("subscribe to accounts, orders, trades, positions and quotes", subscribe)
    quote = step("see a quote", lambda: quotes.seen("quote", lambda row: row.get("bestBid", 0) > 0))
    trade(client, account.id, contract.id, float(quote["bestBid"]), heard)
    step("stop the hubs", realtime.stop)


def connect(realtime: SyncRealTimeClient) -> None:
    """Start the SDK's hub threads and wait until both say that they are connected."""
    realtime.start()
    deadline_s = time.monotonic() + WAIT_S
    while not realtime.is_connected():
        if time.monotonic() > deadline_s:
            raise TimeoutError("the hubs did not connect")
        time.sleep(0.05)


def trade(
    client: ProjectXClient,
    account_id: int,
    contract_id: str,
    bid: float,
    heard: Heard,
) -> None:
    """Buy with brackets, see the fill, close, cancel what is left, and rest a limit order."""
    tag = f"foreign-py-{time.time_ns()}"

    def status(order_id: int, wanted: int) -> dict[str, Any]:
        return heard.orders.seen(
            f"order {order_id} in status {wanted}",
            lambda row: row["id"] == order_id and row["status"] == wanted,
        )

    def buy() -> int:
        body = {
            "accountId": account_id, "contractId": contract_id, "type": 2, "side": 0, "size": 1,
            "customTag": tag,
            "stopLossBracket": {"ticks": -400, "type": 4},
            "takeProfitBracket": {"ticks": 400, "type": 1},
        }  # fmt: skip
        return int(client.post("Order/place", json=body)["orderId"])

    entry_id = step("place a market order with brackets", buy)
    step("see the fill", lambda: status(entry_id, FILLED))
    step(
        "see its trade", lambda: heard.trades.seen("trade", lambda row: row["orderId"] == entry_id)
    )
    step(
        "see the position",
        lambda: heard.positions.seen("position", lambda row: (row["type"], row["size"]) == (1, 1)),
    )
    legs = [
        step(
            f"see the leg {suffix} working",
            lambda suffix=suffix: heard.orders.seen(  # type: ignore[misc]
                f"leg {suffix}",
                lambda row: row.get("customTag") == f"{tag}-{suffix}" and row["status"] == OPEN,
            ),
        )
        for suffix in ("SL", "TP")
    ]

    def close() -> None:
        if not client.positions.close_contract(account_id, contract_id):
            raise ValueError("closeContract was refused")
        heard.positions.seen("flat position", lambda row: (row["type"], row["size"]) == (0, 0))

    step("close the position and see it go", close)

    def cancel(order_id: int) -> None:
        client.orders.cancel(account_id, order_id)
        status(order_id, CANCELLED)

    for leg in legs:
        suffix = leg["customTag"][-2:]
        if GUARDED:
            step(f"see {suffix} go by itself", lambda leg=leg: status(leg["id"], CANCELLED))  # type: ignore[misc]
        else:
            step(f"cancel {suffix} and see it", lambda leg=leg: cancel(leg["id"]))  # type: ignore[misc]

    def place(size: int) -> int:
        return int(
            client.orders.place(
                account_id,
                contract_id,
                order_type=1,
                side=0,
                size=size,
                limit_price=round(bid) - 50,
                custom_tag=f"{tag}-L{size}",
            )
        )

    def refused() -> None:
        try:
            place(99)
        except Exception as error:
            if "_TOO_LARGE" in str(error):
                return
            raise
        raise ValueError("it was taken")

    if GUARDED:
        step("hear a refusal that names the rule", refused)

    def rest() -> None:
        order_id = when_it_may(lambda: place(1))
        status(order_id, OPEN)
        cancel(order_id)

    step("place a limit order far away, see it work, cancel it", rest)

    def history() -> None:
        start = datetime.now(UTC) - timedelta(days=3650)
        if entry_id not in {order.id for order in client.orders.search(account_id, start)}:
            raise LookupError("the entry is missing in the order search")
        if client.orders.search_open(account_id) or client.positions.search_open(account_id):
            raise ValueError("something was left open")

    step("find the order in the history and nothing left open", history)


def when_it_may(act: Callable[[], int]) -> int:
    """Ask again while a guard is still closing the position before."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            return act()
        except Exception as error:
            passes = any(code in str(error) for code in PASSES)
            if not GUARDED or not passes or time.monotonic() > deadline:
                raise
            time.sleep(0.4)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # the SDK's threads would otherwise keep the process
