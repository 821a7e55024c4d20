"""Journals on real files, and batches to put into them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backstop.adapters.sqlite.journal import SqliteJournal
from backstop.core.journal_leaf import leaf_hash


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "state" / "audit.db"


@pytest.fixture
async def journal(database: Path) -> AsyncIterator[SqliteJournal]:
    opened = SqliteJournal.open(database, account="42", epoch=3, leaf_hash=leaf_hash)
    yield opened
    await opened.close()
