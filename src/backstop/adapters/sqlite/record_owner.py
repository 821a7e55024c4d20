"""Whose record a state folder holds: each account has a folder of its own."""

import sqlite3
from contextlib import suppress
from pathlib import Path

from backstop.adapters.sqlite.audit_store import AuditStore
from backstop.errors import DamagedDatabaseError, StateFolderError


def refuse_other_owner(database: Path, *, owner: str | None, account: str) -> None:
    """Raise StateFolderError if ``database`` is the record of another account.

    Args:
        database: path of the record, for people.
        owner: the account whose record it is; None: of nobody yet.
        account: whose it must be.
    """
    if owner is not None and owner != account:
        raise StateFolderError(
            f"{database} holds the record of account {owner}, not of {account}. Nothing was "
            "changed. Set BACKSTOP_STATE_DIR to a folder of its own for each account; if "
            f"{owner} was a slip, move {database.parent} away."
        )


def check_owner(database: Path, *, account: str) -> None:
    """Raise StateFolderError if ``database`` is there and is the record of another account.

    What cannot be read says nothing of an owner; whoever opens it to go on tells what is wrong.
    """
    if not database.is_file() or not database.stat().st_size:
        return
    owner = None
    with suppress(DamagedDatabaseError, sqlite3.Error), AuditStore(database, checked=False) as it:
        owner = it.account()
    refuse_other_owner(database, owner=owner, account=account)
