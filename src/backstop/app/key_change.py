"""``backstop audit rotate-key``: a new signing key, brought in by the old one on record.

The order makes every crash harmless. The new key lies beside the old one; then the record that both
signed becomes durable, and with it the new key is the one; then the files follow. A start that
finds the files behind the record finishes the change, one that finds them before it undoes it.
"""

import asyncio
from pathlib import Path

from msgspec import Struct

from backstop.adapters.key_folder import make_next, promote_next
from backstop.adapters.sqlite.audit_store import AuditStore
from backstop.adapters.state_layout import AUDIT_DATABASE, KEY_FOLDER
from backstop.app.audit_trail import AuditTrail
from backstop.core.key_rotation import Rotation, payload, signed_bytes
from backstop.core.record_fold import decode_fact
from backstop.domain.events import GuardStarted
from backstop.domain.record_kind import RecordKind
from backstop.errors import StateFolderError
from backstop.ports import Clock, JournalBatch, JournalRecord


class KeyChange(Struct, frozen=True, kw_only=True):
    """What was changed: names of both keys, and the record that says so."""

    old_key_id: str
    new_key_id: str
    seq: int
    public_key_path: str


class RecordWriter(Struct, frozen=True, kw_only=True):
    """Whose right to send stands behind a record: who holds that right writes it alone."""

    account: str
    gateway_host: str


def recorded_writer(state_folder: Path) -> RecordWriter:
    """Return who wrote the record in ``state_folder``, by its newest start of a guard.

    Raises:
        StateFolderError: there is no record, or no guard ever started on it.
    """
    with AuditStore(state_folder / AUDIT_DATABASE, checked=False) as store:
        account = store.account()
        for record in store.newest(kind=RecordKind.EVENT, containing=GuardStarted.__name__):
            fact = decode_fact(record.as_written())
            if isinstance(fact, GuardStarted):
                return RecordWriter(account=str(account), gateway_host=fact.gateway_host)
    raise StateFolderError(f"{state_folder} holds no record of a guard; its key is still new.")


def rotate_key(
    state_folder: Path, *, account: str, clock: Clock, mirror: Path | str | None = None
) -> KeyChange:
    """Change the key that signs; the caller holds the right to send for the account.

    Raises:
        StateFolderError: the record does not hold, or the folder cannot be written.
        JournalError: the record of the change did not become durable; the old key stays.
    """
    return asyncio.run(_rotate(state_folder, account=account, clock=clock, mirror=mirror))


async def _rotate(
    state_folder: Path, *, account: str, clock: Clock, mirror: Path | str | None
) -> KeyChange:
    key_folder = state_folder / KEY_FOLDER
    trail = AuditTrail.open(state_folder, account=account, epoch=1, clock=clock, mirror=mirror)
    try:
        old, new = trail.keys, make_next(key_folder)
        rotation = Rotation(
            account=account,
            seq=trail.next_seq,
            utc_us=clock.utc_us(),
            old_key=old.public_key().public_bytes_raw(),
            new_key=new.public_key().public_bytes_raw(),
        )
        message = signed_bytes(rotation)
        record = JournalRecord(
            seq=rotation.seq,
            kind=RecordKind.KEY_ROTATION,
            monotonic_ns=clock.monotonic_ns(),
            utc_us=rotation.utc_us,
            payload=payload(
                rotation, old_signature=old.sign(message), new_signature=new.sign(message)
            ),
        )
        trail.sign_with(new)
        await trail.append(JournalBatch(records=(record,)))
        promote_next(key_folder)
    finally:
        await trail.close()
    return KeyChange(
        old_key_id=old.key_id,
        new_key_id=new.key_id,
        seq=rotation.seq,
        public_key_path=str(old.public_key_path),
    )
