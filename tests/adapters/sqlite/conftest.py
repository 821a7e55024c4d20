"""Journals on real files, and batches to put into them."""

from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from backstop.adapters.sqlite.journal import SqliteJournal
from backstop.core.journal_leaf import leaf_hash
from backstop.errors import JournalError


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "state" / "audit.db"


@pytest.fixture
async def journal(database: Path) -> AsyncIterator[SqliteJournal]:
    opened = SqliteJournal.open(database, account="42", epoch=3, leaf_hash=leaf_hash)
    yield opened
    with suppress(JournalError):  # a test may leave behind what no disk takes
        await opened.close()
