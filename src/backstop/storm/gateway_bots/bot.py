"""One bot behind the gateway: what it wants, what it does wrong, and how it comes back."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from itertools import count
from random import Random
from typing import Any, Final

import aiohttp
from msgspec import Struct

from backstop.adapters.projectx.wire import WireOrderType, WireSide
from backstop.storm.gateway_bots.client import OK, Client, Told
from backstop.storm.gateway_bots.judge import IN_USE, PENDING, BotsJudge
from backstop.storm.gateway_bots.picture import Picture, Row
from backstop.storm.story import Story

COME_BACK_S: Final = (0.5, 3.0)
"""Between two tries to connect."""

READ_AGAIN_S: Final = 2.0
"""After a read that was not answered, or not now."""

GREEDY_S: Final = 70.0
"""So long after a flood its own calls may be refused to a bot."""

FLOOD: Final = 210
"""More calls than one bot has in a minute."""

AT_ONCE: Final = 30

HOLDS_S: Final = (5.0, 90.0)

_WISHES: Final = (
    ("enter", 30),
    ("burst", 4),
    ("again", 5),
    ("close", 8),
    ("close_a_part", 4),
    ("cancel", 12),
    ("modify", 8),
    ("touch_another", 4),
    ("odd_order", 8),
    ("nonsense", 5),
    ("look", 12),
    ("flood", 1),
    ("babble", 2),
    ("hold", 2),
)

_NONSENSE: Final = (
    ("Order/place", b"{"),
    ("Order/place", b"[]"),
    ("Order/place", b'{"accountId":"x"}'),
    ("Order/cancel", b"\xff\xfe"),
    ("Order/modify", b"null"),
    ("Nowhere/atAll", b"{}"),
    ("Order/v2/query", b'{"filter":7}'),
)

_BABBLE: Final = (
    "nonsense",
    "\x1e\x1e\x1e",
    '{"protocol":"messagepack","version":1}\x1e',
    '{"protocol":"json","version":1}\x1e{"type":1}\x1e',
    '{"protocol":"json","version":1}\x1e{"type":99}\x1e{"type":1,"target":"No","arguments":[]}\x1e',
)


class Desk(Struct, frozen=True, kw_only=True):
    """What a bot behind the gateway finds in its world.

    Attributes:
        account_id: that it trades.
        contract_ids: that there are.
        touch: gives the bid and the tick of a contract.
        since: from when on it reads, as the wire writes times.
        serving: says which guard serves bots at the moment, without a pause; None: none does.
        now_s: seconds of the story.
    """

    account_id: int
    contract_ids: tuple[str, ...]
    touch: Callable[[str], tuple[Decimal, Decimal]]
    since: str
    serving: Callable[[], tuple[int, int] | None]
    now_s: Callable[[], float]


class GatewayBot:
    """One bot; what it has learnt is lost with its process, its numbers go on.

    Attributes:
        name: its login.
        picture: what it believes.
    """

    def __init__(
        self,
        name: str,
        key: str,
        chance: Random,
        *,
        pause_s: float,
        desk: Desk,
        judge: BotsJudge,
        story: Story,
        wants: Callable[[], bool],
    ) -> None:
        """Prepare; ``pause_s`` is the mean pause between two wishes."""
        self.name = name
        self.picture = Picture()
        self._key = key
        self._chance = chance
        self._pause_s = pause_s
        self._desk = desk
        self._judge = judge
        self._story = story
        self._wants = wants
        self._numbers = count(1)
        self._newest: dict[str, Any] | None = None
        self._tags: set[str] = set()
        self._greedy_until_s = 0.0

    async def run(self) -> None:
        """Live until the process ends."""
        client = Client(self.name, self._key)
        try:
            await asyncio.gather(self._keep_listening(client), self._keep_wanting(client))
        finally:
            await client.close()

    # -- hearing ---------------------------------------------------------------------------------

    async def _keep_listening(self, client: Client) -> None:
        while True:
            self.picture.begin()
            with suppress(aiohttp.ClientError, OSError, TimeoutError):
                if await client.log_in():
                    await client.listen(
                        self._desk.account_id, self._hear, lambda: self._read_back(client)
                    )
            self.picture.is_whole = False
            await asyncio.sleep(self._chance.uniform(*COME_BACK_S))

    def _hear(self, target: str, row: Row) -> None:
        faults = self.picture.hear(target, row)
        self._judge.heard(self.name, faults)

    async def _read_back(self, client: Client) -> None:
        """Read the whole account, as clients do after they have connected."""
        window = {"accountId": self._desk.account_id, "startTimestamp": self._desk.since}
        found = [
            await self._all(client, "Order/search", window, "orders"),
            await self._all(client, "Trade/search", window, "trades"),
            await self._all(client, "Position/searchOpen", window, "positions"),
        ]
        self.picture.read(*found)
        self._story.tell(self.name, "read_back", orders=len(found[0]), trades=len(found[1]))

    async def _all(self, client: Client, path: str, body: dict[str, Any], member: str) -> list[Row]:
        while True:
            told = await client.call(path, body)
            if told.success:
                rows: list[Row] = told.body[member]
                return rows
            await asyncio.sleep(READ_AGAIN_S)

    # -- wishes ----------------------------------------------------------------------------------

    async def _keep_wanting(self, client: Client) -> None:
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / self._pause_s))
            if not self._wants():
                continue
            (wish,) = self._chance.choices(
                [name for name, _ in _WISHES], [weight for _, weight in _WISHES]
            )
            told = await getattr(self, f"_{wish}")(client)
            if isinstance(told, Told):
                self._story.tell(self.name, wish, status=told.status, code=told.code)

    async def _enter(self, client: Client) -> Told:
        return await self._place(client, self._order())

    async def _burst(self, client: Client) -> None:
        """Send more at once than it may."""
        orders = [self._order(size=1) for _ in range(8)]
        await asyncio.gather(*(self._place(client, order) for order in orders))

    async def _again(self, client: Client) -> Told | None:
        """Send the newest order once more under its tag, as a client does that heard no answer."""
        return None if self._newest is None else await self._place(client, self._newest)

    async def _odd_order(self, client: Client) -> Told:
        """Want what must be refused."""
        odd: tuple[dict[str, Any], ...] = (
            {"size": 40},
            {"size": 0},
            {"size": -1},
            {"type": int(WireOrderType.STOP_LIMIT)},
            {"type": 99},
            {"side": 7},
            {"contractId": "CON.F.US.XYZ.H26"},
            {"contractId": self._desk.contract_ids[-1]},
            {"stopLossBracket": {"ticks": 40, "type": int(WireOrderType.LIMIT)}},
            {"stopLossBracket": None, "takeProfitBracket": None},
            {"customTag": f"untagged:{self.name}-{next(self._numbers)}"},
            {"customTag": "x" * 200},
            {"accountId": 1},
        )
        return await self._place(client, self._order() | self._chance.choice(odd))

    async def _close(self, client: Client) -> Told:
        return await self._change(client, "Position/closeContract", contractId=self._held_or_any())

    async def _close_a_part(self, client: Client) -> Told:
        return await self._change(
            client, "Position/partialCloseContract", contractId=self._held_or_any(), size=1
        )

    async def _cancel(self, client: Client) -> Told | None:
        rows = self._own_rows()
        if not rows:
            return None
        row = self._chance.choice(rows)
        return await self._change(client, "Order/cancel", orderId=row["id"])

    async def _modify(self, client: Client) -> Told | None:
        rows = self._own_rows()
        return await self._moved(client, self._chance.choice(rows)) if rows else None

    async def _moved(self, client: Client, row: Row) -> Told:
        bid, tick = self._desk.touch(row["contractId"])
        away = self._chance.randint(1, 40) * tick * (1 if row["side"] == WireSide.BID else -1)
        levels: dict[str, Any] = {}
        if row["type"] == WireOrderType.LIMIT:
            levels["limitPrice"] = bid - away
        elif row["type"] == WireOrderType.STOP:
            levels["stopPrice"] = bid + away
        size = self._chance.choice((None, None, 1, 2))
        return await self._change(client, "Order/modify", orderId=row["id"], size=size, **levels)

    async def _touch_another(self, client: Client) -> Told | None:
        """Try to cancel or to change what somebody else has sent."""
        rows = [row for row in self.picture.live_rows() if row.get("customTag") not in self._tags]
        if not rows:
            return None
        row = self._chance.choice(rows)
        if self._chance.random() < 0.5:  # noqa: PLR2004 - a coin
            return await self._moved(client, row)
        return await self._change(client, "Order/cancel", orderId=row["id"])

    async def _look(self, client: Client) -> Told:
        """Read something that takes nothing, and see how long that takes."""
        desk = self._desk
        serving, began_s = desk.serving(), asyncio.get_running_loop().time()
        told = await client.call("Account/search", {"onlyActiveAccounts": True})
        seconds = asyncio.get_running_loop().time() - began_s
        greedy = desk.now_s() < self._greedy_until_s
        if serving is not None and serving == desk.serving() and not greedy:
            self._judge.waited(self.name, "Account/search", told, seconds)
        return told

    async def _nonsense(self, client: Client) -> Told:
        path, raw = self._chance.choice(_NONSENSE)
        return await client.call(path, None, raw=raw)

    async def _flood(self, client: Client) -> None:
        """Ask far more often than it may."""
        self._greedy_until_s = self._desk.now_s() + GREEDY_S
        paths = ("Account/search", "Order/searchOpen")
        body = {"accountId": self._desk.account_id, "onlyActiveAccounts": True}
        refused = 0
        for _ in range(FLOOD // AT_ONCE):
            asked = [client.call(paths[place % 2], body) for place in range(AT_ONCE)]
            refused += sum(told.status != OK for told in await asyncio.gather(*asked))
        self._greedy_until_s = self._desk.now_s() + GREEDY_S
        self._story.tell(self.name, "flood", refused=refused)

    async def _babble(self, client: Client) -> None:
        await client.babble(self._chance.choice(_BABBLE))

    async def _hold(self, client: Client) -> None:
        """Hold a socket without reading from it."""
        seconds = self._chance.uniform(*HOLDS_S)
        self._story.tell(self.name, "hold", seconds=round(seconds, 3))
        await client.hold_without_reading(list(self._desk.contract_ids), seconds)

    # -- orders ----------------------------------------------------------------------------------

    async def _place(self, client: Client, order: dict[str, Any]) -> Told:
        tag = str(order["customTag"])
        self._newest = order
        self._tags.add(tag)
        self._judge.sends(tag)
        told = await client.call("Order/place", order)
        self._judge.answered(tag, told)
        no = not told.success and told.status == OK and told.code != PENDING
        if no and IN_USE not in told.message and self._newest is order:
            self._newest = None  # its tag is free again; whoever wants it anew takes another
        return told

    async def _change(self, client: Client, path: str, **members: Any) -> Told:
        told = await client.call(path, {"accountId": self._desk.account_id, **members})
        self._judge.changed(told)
        return told

    def _own_rows(self) -> list[Row]:
        return [row for row in self.picture.live_rows() if row.get("customTag") in self._tags]

    def _held_or_any(self) -> str:
        held = sorted(self.picture.positions())
        return self._chance.choice(held or [*self._desk.contract_ids])

    def _order(self, *, size: int | None = None) -> dict[str, Any]:
        chance = self._chance
        contract_id = chance.choice(self._desk.contract_ids)
        bid, tick = self._desk.touch(contract_id)
        side = chance.choice((WireSide.BID, WireSide.ASK))
        sign = 1 if side is WireSide.BID else -1
        kind = chance.choice(
            (WireOrderType.MARKET, WireOrderType.MARKET, WireOrderType.LIMIT, WireOrderType.STOP)
        )
        away, stop = chance.randint(-2, 12) * tick, chance.randint(8, 60)
        order: dict[str, Any] = {
            "accountId": self._desk.account_id,
            "contractId": contract_id,
            "type": int(kind),
            "side": int(side),
            "size": size or chance.choice((1, 1, 1, 2, 3)),
            "customTag": f"{self.name}-{next(self._numbers)}",
            "stopLossBracket": {"ticks": -sign * stop, "type": int(WireOrderType.STOP)},
        }
        if kind is WireOrderType.LIMIT:
            order["limitPrice"] = bid - sign * away
        elif kind is WireOrderType.STOP:
            order["stopPrice"] = bid + sign * away
        if chance.random() < 0.7:  # noqa: PLR2004 - most entries have one
            target = {"ticks": 2 * sign * stop, "type": int(WireOrderType.LIMIT)}
            order["takeProfitBracket"] = target
        return order
