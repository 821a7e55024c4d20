"""What must hold after a death, wherever it came: told on the exchange's own truth."""

import asyncio
import json
from collections import Counter
from functools import partial
from typing import Any

from tests.acceptance.kill_matrix.run import PATIENCE_S, Run
from tests.acceptance.scenarios.stage import cover, net, trades, working
from tests.app.desk import audited

DEMANDS = """\
- At the venue no tag stands on more than one order.
- Every trade of the venue stands once in the audit table, with its quantity, and no other one.
- The guard's position is the venue's, and working stops cover exactly that; or it is flat and no
  leg works any more.
- A liquidation that was begun has ended flat and its latch is on; no position was turned round.
- What was acknowledged to the bot before the death is known after it, under the same tag.
- The record verifies, with every signature on it, and the next stop is a clean one."""


async def judge(run: Run) -> None:
    """Wait until everything agrees, end the run as a person would, and look at what is left."""
    account = run.desk.account
    try:
        async with asyncio.timeout(PATIENCE_S):
            await agreed(run)
            await everything_told_is_known(run)
    except TimeoutError:
        raise AssertionError("; ".join(await differences(run))) from None
    await run.stop()
    kept = (run.bench.folder / "state" / "trading_state.json").read_text(encoding="utf-8")
    assert json.loads(kept)["state"]["clean_stop"] is True
    rows = [row for row in run.desk.truth()["orders"] if row["accountId"] == account]
    tags = Counter(row["customTag"] for row in rows if row["customTag"])
    assert [tag for tag, times in tags.items() if times > 1] == []
    assert never_turned_round(run)
    verified = await run.bench.call("audit", "verify")
    assert verified.code == 0, verified.out + verified.err


async def agreed(run: Run) -> None:
    while await differences(run):  # noqa: ASYNC110 - other processes decide
        await asyncio.sleep(0.02)


async def differences(run: Run) -> list[str]:
    """Return where the guard's belief, its record and the exchange's truth part."""
    _, positions = await run.ask("GET", "/v1/positions")
    true = net(run.desk)
    found = []
    believed = sum(row["quantity"] for row in positions.get("positions", ()))
    if believed != true:
        found.append(f"position {believed}, in truth {true}")
    if cover(run.desk) != abs(true):
        found.append(f"stops for {cover(run.desk)}, position {true}")
    told = sum(stop["quantity"] for row in positions.get("positions", ()) for stop in row["stops"])
    if told != abs(true):
        found.append(f"stops told for {told}, position {true}")
    legs = [row["id"] for row in working(run.desk) if row["leg"] is not None]
    if not true and legs:
        found.append(f"legs of a position that is gone: {legs}")
    return [*found, *fill_differences(run)]


def fill_differences(run: Run) -> list[str]:
    """Return trades that are missing in the audit table, stand there twice, or never were."""
    true = sorted((str(row["id"]), abs(row["quantity"])) for row in trades(run.desk))
    written = sorted(
        (str(fill), int(quantity))
        for fill, quantity in audited(
            run.bench.folder / "state", "SELECT FillId, FillQuantity FROM FillAudit"
        )
    )
    return [] if true == written else [f"trades {true}, in FillAudit {written}"]


async def everything_told_is_known(run: Run) -> None:
    for name, tag in run.told.items():
        await run.says(f"/v1/orders/{name}", partial(_has_tag, tag))


def _has_tag(tag: str, record: Any) -> bool:
    return bool(record["custom_tag"] == tag)


def never_turned_round(run: Run) -> bool:
    """Say whether the account was never on the other side of the market than its story."""
    held = 0
    rows: list[Any] = sorted(trades(run.desk), key=lambda row: int(row["id"]))
    for row in rows:
        held += run.case.held.sign * row["quantity"]
        if held < 0:
            return False
    return True
