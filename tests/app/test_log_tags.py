"""The specification's five tags, read from the log that a guard really writes."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from tests.app.desk import API_KEY, Desk

from backstop.adapters.log import LogFormat, Redactor, configure_logging
from backstop.core.step import DecisionKind, Tag
from backstop.domain.order import Side

pytestmark = pytest.mark.asyncio(loop_scope="module")


@contextmanager
def logging_to(path: Path, log_format: LogFormat) -> Iterator[None]:
    """Write the log as the daemon does, and put things back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with path.open("w", encoding="utf-8") as stream:
        configure_logging(
            session_id="session-of-the-test",
            redactor=Redactor(),
            log_format=log_format,
            stream=stream,
        )
        try:
            yield
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)
            structlog.reset_defaults()


async def trade_a_little(desk: Desk) -> None:
    """Give the guard a reason for each kind of line."""
    async with desk.guard("NQ", RISK_BUDGET=10_000, ES_NQ_MAX_COMBINED_EXPOSURE=5_000) as guard:
        await guard.enter()
        refused = await guard.manager.submit_order(guard.request(Side.BUY, 20, symbol="NQ"))
        assert refused.kind is DecisionKind.REFUSED
        await guard.manager.halt(reason="a look at the news", operator="Ada")
        await guard.agrees()


async def test_all_five_tags_stand_in_the_log_of_a_trading_guard(
    desk: Desk, tmp_path: Path
) -> None:
    path = tmp_path / "guard.log"
    with logging_to(path, LogFormat.JSON):
        await trade_a_little(desk)
    lines: list[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines()]
    components = {line["component"] for line in lines}
    ours = [line for line in lines if line["component"] in set(Tag)]

    assert set(Tag) <= components
    assert sorted(Tag) == sorted(
        ["[CriticalSystem]", "[CORRELATION_REJECT]", "[CRITICAL]", "[ORDER]", "[TRADE]"]
    )
    assert all(line["session_id"] == "session-of-the-test" for line in ours)
    assert all(isinstance(line["seq"], int) and line["event"] for line in ours)
    assert API_KEY not in path.read_text()


async def test_a_text_search_finds_the_tags_in_the_form_for_people_too(
    desk: Desk, tmp_path: Path
) -> None:
    path = tmp_path / "guard.log"
    with logging_to(path, LogFormat.CONSOLE):
        await trade_a_little(desk)
    text = path.read_text()

    assert [tag for tag in Tag if tag not in text] == []


async def test_each_fill_and_each_refusal_has_a_line_of_its_own(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "guard.log"
    with logging_to(path, LogFormat.JSON):
        await trade_a_little(desk)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    trades = [line for line in lines if line["component"] == Tag.TRADE]
    refusals = [line for line in lines if line["component"] == Tag.CORRELATION_REJECT]
    true = [row["id"] for row in desk.truth()["trades"] if row["accountId"] == desk.account]

    assert [line["trade_id"] for line in trades] == true
    assert len(refusals) == 1
    assert "CORRELATION_EXPOSURE" in refusals[0]["codes"]
