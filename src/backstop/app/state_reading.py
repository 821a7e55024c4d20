"""Reads the state folder of a guard that does not run, and changes nothing in it."""

from contextlib import ExitStack
from pathlib import Path

from msgspec import Struct

from backstop.adapters.clock import boot_id
from backstop.adapters.sqlite.audit_store import AuditStore
from backstop.adapters.sqlite.past_archive import PAST_DATABASE
from backstop.adapters.sqlite.record_owner import refuse_other_owner
from backstop.adapters.sqlite.schema import FIRST_SEQ
from backstop.adapters.state_file import StateFiles
from backstop.adapters.state_folder import check_state_folder
from backstop.adapters.state_layout import AUDIT_DATABASE
from backstop.app.audit_start import KnownTree, tree_is_of
from backstop.app.past_orders import PastOrders
from backstop.app.state_start import NOTHING, WHOLE_JOURNAL, Before, StateSearch
from backstop.core.book import Book
from backstop.core.engine import new_book
from backstop.core.policy import Policy
from backstop.core.record_fold import fold
from backstop.ports import Clock


class StateRead(Struct, frozen=True, kw_only=True):
    """What a start would begin with.

    Attributes:
        source: where the book is from.
        records: in the journal; ``replayed``: of those, after the checkpoint.
        before: how the last process ended.
        faults: what is wrong with files that cannot be used.
    """

    source: str
    records: int
    replayed: int
    before: Before
    faults: tuple[str, ...]


def read_state(folder: Path, policy: Policy, *, clock: Clock) -> tuple[Book, StateRead]:
    """Return the book that a start with ``policy`` would begin with, and where it is from.

    That the record is what was signed is not asked here: ``backstop audit verify`` does.

    Raises:
        StateFolderError: the folder cannot be used, or is that of another account.
    """
    check_state_folder(folder)
    past = PastOrders(folder / PAST_DATABASE)
    search = StateSearch(StateFiles(folder), past, account_id=policy.account_id)
    with ExitStack() as closing:
        closing.callback(past.close)
        store = _store(folder / AUDIT_DATABASE, closing, account=str(policy.account_id))
        size = 0 if store is None else store.last_seq()
        first = None if store is None else store.leaf_hash(FIRST_SEQ)
        chosen = search.book(size=size, known=_known_tree(store, search))
        book, next_seq = new_book(policy), 1
        source = WHOLE_JOURNAL if size else NOTHING
        if chosen is not None:
            book, checkpoint, source = chosen
            next_seq = checkpoint.journal_seq + 1
        if store is not None:
            for record in store.records(from_seq=next_seq):
                fold(book, record.as_written())
        ahead = search.ahead("" if first is None else first.hex(), size)
    if ahead is not None and ahead.entry(kept="").digest != book.taken_digest:
        book, source = ahead.book, ahead.source
    book.policy = policy
    return book, StateRead(
        source=source,
        records=size,
        replayed=size - next_seq + 1,
        before=search.before(size=size, clock=clock, boot_id=boot_id(), ahead=ahead).told_by(book),
        faults=tuple(str(fault) for fault in search.faults.values()),
    )


def _store(database: Path, closing: ExitStack, *, account: str) -> AuditStore | None:
    """Return the record of ``account``, held at one moment; None where there is none yet."""
    if not database.is_file() or not database.stat().st_size:
        return None
    store = closing.enter_context(AuditStore(database, checked=False))
    store.freeze()
    owner = store.account()
    refuse_other_owner(database, owner=owner, account=account)
    return None if owner is None else store


def _known_tree(store: AuditStore | None, search: StateSearch) -> KnownTree | None:
    if store is None:
        return None
    first = store.leaf_hash(FIRST_SEQ)
    trees = search.trees("" if first is None else first.hex(), store.last_seq())
    return next((tree for tree in trees if tree_is_of(store, tree)), None)
