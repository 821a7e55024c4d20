"""Everything that somebody with write access could do to the record, and that it is found.

The table is executed here, row by row, and printed into docs/reference/tamper-table.md.
"""

import asyncio
import shutil
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.app.record_story import (
    Story,
    ask,
    change,
    note,
    put_checkpoints,
    put_head,
    rehash,
    stolen_key,
    tell,
)

from backstop.adapters.clock import SystemClock
from backstop.app import audit_start
from backstop.app.audit_trail import AuditTrail
from backstop.app.audit_verification import verify_record
from backstop.app.record_check import RecordCheck
from backstop.app.state_opening import OpenedState
from backstop.errors import DamagedDatabaseError, StateFolderError, TamperedRecordError

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "tamper-table.md"
REWRITTEN = 12
"""A record of the first run, from before the change of keys."""


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with pytest.MonkeyPatch.context() as environment:
        folder = tmp_path_factory.mktemp("story")
        environment.setenv("XDG_RUNTIME_DIR", str(folder))
        yield tell(folder)


@pytest.fixture
def state(story: Story, tmp_path: Path) -> Path:
    return story.copy(tmp_path / "state")


# -- the acts ------------------------------------------------------------------------------------


def another(value: Any) -> Any:
    """Return a value that differs in one byte, or the smallest step of its type."""
    match value:
        case None:
            return "x"
        case int():
            return value + 1024
        case float():
            return value + 0.25
        case bytes():
            return value[:-1] + bytes([value[-1] ^ 1])
        case _:
            return chr(ord(value[0]) ^ 1) + value[1:]


def change_column(table: str, column: str) -> Callable[[Path, Story], None]:
    def act(folder: Path, _: Story) -> None:
        rows = ask(folder, f"SELECT rowid, {column} FROM {table} ORDER BY rowid")  # noqa: S608 - of the table below
        rowid, value = rows[len(rows) // 2]
        changed = change(
            folder,
            f"UPDATE {table} SET {column} = ? WHERE rowid = ?",  # noqa: S608 - of the table below
            another(value),
            rowid,
        )
        assert changed == 1

    return act


def delete_row(table: str) -> Callable[[Path, Story], None]:
    def act(folder: Path, _: Story) -> None:
        last = f"(SELECT rowid FROM {table} ORDER BY rowid LIMIT 1 OFFSET 1)"  # noqa: S608 - of the table below
        assert change(folder, f"DELETE FROM {table} WHERE rowid = {last}") == 1  # noqa: S608 - likewise

    return act


def invent_row(table: str) -> Callable[[Path, Story], None]:
    def act(folder: Path, _: Story) -> None:
        names = [name for _, name, *_ in ask(folder, f"PRAGMA table_info({table})")]
        key, rest = names[0], ", ".join(names[1:])
        statement = f"INSERT INTO {table} SELECT {key} || '7', {rest} FROM {table} LIMIT 1"  # noqa: S608 - of the table below
        assert change(folder, statement) == 1

    return act


def swap_records(folder: Path, _: Story) -> None:
    for old, new in ((20, -1), (21, 20), (-1, 21)):
        change(folder, "UPDATE Journal SET seq = ? WHERE seq = ?", new, old)


def swap_rows(folder: Path, _: Story) -> None:
    first, second = (key for (key,) in ask(folder, "SELECT FillId FROM FillAudit LIMIT 2"))
    for old, new in ((first, "-1"), (second, first), ("-1", second)):
        change(folder, "UPDATE FillAudit SET FillId = ? WHERE FillId = ?", new, old)


def cut_tail(folder: Path, story: Story) -> None:
    change(folder, "DELETE FROM Journal WHERE seq > ?", story.records - 3)


def cut_tail_with_old_head(folder: Path, story: Story) -> None:
    """Also put back the signed head of that time, which any reader of the file could have kept."""
    shutil.copy(story.older / "audit.db", folder / "audit.db")


def delete_checkpoints(folder: Path, _: Story) -> None:
    shutil.rmtree(folder / "checkpoints")


def empty_checkpoints(folder: Path, _: Story) -> None:
    """Leave the files, and nothing in them."""
    for path in (folder / "checkpoints").iterdir():
        path.write_bytes(b"")


def rewind_without_checkpoints(folder: Path, story: Story) -> None:
    """Put an older record back, with all that belongs to it, where no checkpoint speaks up."""
    shutil.rmtree(folder / "keys")
    shutil.copytree(story.older / "keys", folder / "keys")
    cut_tail_with_old_head(folder, story)
    empty_checkpoints(folder, story)


def invent_record(folder: Path, _: Story) -> None:
    """Put a record where nobody who counts from one would look."""
    statement = (
        "INSERT INTO Journal SELECT -7, kind, account, epoch, monotonic_ns, utc_us, payload,"
        " leaf_hash FROM Journal WHERE seq = 7"
    )
    assert change(folder, statement) == 1


def add_signature(folder: Path, story: Story) -> None:
    """Add a line that readers of notes pass over: the key in it is nobody's."""
    line = f"— backstop/{story.account} {b64encode(bytes(68)).decode()}"
    assert change(folder, "UPDATE TreeHead SET note = note || ? || char(10)", line) == 1


def delete_database(folder: Path, _: Story) -> None:
    (folder / "audit.db").unlink()


def empty_database(folder: Path, _: Story) -> None:
    """Leave what a copy of the file without its ``-wal`` can be: tables, and nothing in them."""
    for table in ("FillAudit", "OrderAudit", "Journal", "TreeHead"):
        change(folder, f"DELETE FROM {table}")  # noqa: S608 - of this list


def rewrite_leaf(folder: Path, _: Story) -> None:
    payload = ask(folder, "SELECT payload FROM Journal WHERE seq = ?", REWRITTEN)[0][0]
    change(
        folder,
        "UPDATE Journal SET payload = ? WHERE seq = ?",
        payload.replace(b"1", b"2", 1),
        REWRITTEN,
    )
    rehash(folder)


def rewrite_with_old_key(folder: Path, story: Story) -> None:
    """Sign everything anew with the old key, also what is outside the database."""
    rewrite_leaf(folder, story)
    roots, key = rehash(folder), stolen_key(story.older)
    put_head(folder, note(story.account, story.records, roots[-1], key), story.records)
    put_checkpoints(
        folder,
        lambda notes: [note(story.account, size, roots[size], key) for size in map(_size, notes)],
    )


def rewrite_before_rotation(folder: Path, story: Story) -> None:
    """Leave out the change of keys: then the old key seems to be the only one."""
    shutil.copy(story.older / "audit.db", folder / "audit.db")
    rewrite_leaf(folder, story)
    roots, key = rehash(folder), stolen_key(story.older)
    put_head(folder, note(story.account, len(roots) - 1, roots[-1], key), len(roots) - 1)
    put_checkpoints(
        folder,
        lambda _: [note(story.account, 0, roots[0], key), note(story.account, 5, roots[5], key)],
    )


def sign_with_retired_key(folder: Path, story: Story) -> None:
    """Put a head over the true records that the retired key signed."""
    roots = rehash(folder)
    put_head(
        folder,
        note(story.account, story.records, roots[-1], stolen_key(story.older)),
        story.records,
    )


def checkpoint_by_retired_key(folder: Path, story: Story) -> None:
    forge = forger(story, rehash(folder), stolen_key(story.older))
    put_checkpoints(folder, lambda notes: [*notes, forge(story.records)])


def second_root(folder: Path, story: Story) -> None:
    """Show one reader another history of the same length, signed by the key itself."""
    forged = note(story.account, story.records, bytes(32), stolen_key(folder))
    put_checkpoints(folder, lambda notes: [*notes, forged])


def swap_checkpoints(folder: Path, _: Story) -> None:
    put_checkpoints(folder, lambda notes: [notes[-1], *notes[1:-1], notes[0]])


def add_record(folder: Path, story: Story) -> None:
    change(
        folder,
        "INSERT INTO Journal SELECT seq + 1, kind, account, epoch, monotonic_ns, utc_us, payload,"
        " leaf_hash FROM Journal WHERE seq = ?",
        story.records,
    )
    rehash(folder)


def show_a_view(folder: Path, _: Story) -> None:
    change(folder, "ALTER TABLE FillAudit RENAME TO Hidden")
    change(folder, "CREATE VIEW FillAudit AS SELECT * FROM Hidden WHERE FillQuantity > 1")


def drop_head(folder: Path, _: Story) -> None:
    change(folder, "DELETE FROM TreeHead")


def replace_proof(folder: Path, _: Story) -> None:
    """Put a proof of one order, truly signed, into the row of another."""
    change(
        folder,
        "UPDATE OrderAudit SET ExecutionProof = (SELECT ExecutionProof FROM OrderAudit WHERE"
        " ClientOrderId = 'order-1') WHERE ClientOrderId = 'order-2'",
    )


def replace_public_key(folder: Path, story: Story) -> None:
    shutil.copy(story.older / "keys" / "audit.pub", folder / "keys" / "audit.pub")


def damage_file(folder: Path, _: Story) -> None:
    """Overwrite the page after the first with noise."""
    content = bytearray((folder / "audit.db").read_bytes())
    content[4096:8192] = bytes(place % 251 for place in range(4096))
    (folder / "audit.db").write_bytes(content)


def forger(story: Story, roots: list[bytes], key: Ed25519PrivateKey) -> Callable[[int], str]:
    """Return what signs the head of any size with a key that somebody got hold of."""
    return lambda size: note(story.account, size, roots[size], key)


def _size(text: str) -> int:
    return int(text.split("\n")[1])


# -- the table -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tampering:
    """One row: what was done, how the check finds it, and the act itself."""

    what: str
    found: str
    act: Callable[[Path, Story], None]
    words: str


JOURNAL_COLUMNS = (
    "seq", "kind", "account", "epoch", "monotonic_ns", "utc_us", "payload", "leaf_hash",
)  # fmt: skip
ORDER_COLUMNS = (
    "OrderId", "ClientOrderId", "SubmittedTime", "Symbol", "Side", "Quantity", "Price", "Status",
    "ExecutionProof", "CreatedAt", "Account", "JournalSeq",
)  # fmt: skip
FILL_COLUMNS = (
    "FillId", "OrderId", "FillTime", "FillPrice", "FillQuantity", "Commission", "Voided",
    "Account", "JournalSeq",
)  # fmt: skip

LEAF = "the record, by its leaf hash"
ROW = "the row, by what the journal implies"

TABLE = (
    *(
        Tampering(f"one byte changed in `Journal.{column}`", LEAF, change_column("Journal", column),
                  r"^record \d+: ")
        for column in JOURNAL_COLUMNS
    ),
    *(
        Tampering(f"one byte changed in `OrderAudit.{column}`", ROW,
                  change_column("OrderAudit", column), r"^OrderAudit ")
        for column in ORDER_COLUMNS
    ),
    *(
        Tampering(f"one byte changed in `FillAudit.{column}`", ROW,
                  change_column("FillAudit", column), r"^FillAudit ")
        for column in FILL_COLUMNS
    ),
    Tampering("a size or note changed in `TreeHead`", "the signed head",
              change_column("TreeHead", "note"), "signed head"),
    Tampering("`TreeHead.size` changed alone", "the signed head",
              change_column("TreeHead", "size"), "signed head"),
    Tampering("a signature added to the signed head", "the signed head, which has one",
              add_signature, "signed head.* added"),
    Tampering("the signed head removed", "the signed head", drop_head, "signed head.* gone"),
    Tampering("a record deleted", "the gap in the sequence", delete_row("Journal"),
              "record 2: it is missing"),
    Tampering("a record invented, with a number below the first", "its number",
              invent_record, "record -7: no record has"),
    Tampering("a row of `OrderAudit` deleted", ROW, delete_row("OrderAudit"),
              "OrderAudit .* missing"),
    Tampering("a row of `FillAudit` deleted", ROW, delete_row("FillAudit"), "FillAudit .* missing"),
    Tampering("a row of `OrderAudit` invented", ROW, invent_row("OrderAudit"),
              "OrderAudit .*no record"),
    Tampering("a row of `FillAudit` invented", ROW, invent_row("FillAudit"),
              "FillAudit .*no record"),
    Tampering("two records swapped", LEAF, swap_records, "^record 20: "),
    Tampering("two rows of `FillAudit` swapped", ROW, swap_rows, "^FillAudit "),
    Tampering("a proof put into the row of another order", ROW, replace_proof, "ExecutionProof is"),
    Tampering("the last 3 records cut off", "the checkpoints outside the database", cut_tail,
              "missing: .*checkpoints has a checkpoint"),
    Tampering("the database replaced by an older copy of itself, its signed head included",
              "the public key in use, and the checkpoints outside", cut_tail_with_old_head,
              "record|signed head|checkpoint"),
    Tampering("`audit.db` deleted beside `checkpoints/`", "the folders that are left",
              delete_database, "audit.db: it is gone"),
    Tampering("`audit.db` emptied beside `checkpoints/`", "the checkpoints outside the database",
              empty_database, "audit.db: it holds no record"),
    Tampering("`checkpoints/` deleted", "its absence: a record always has checkpoints",
              delete_checkpoints, "checkpoints: it is gone"),
    Tampering("all checkpoints taken out of their files", "their absence, likewise",
              empty_checkpoints, "checkpoints: it holds no checkpoint"),
    Tampering("an older record put back with its keys, and all checkpoints taken out",
              "their absence, likewise", rewind_without_checkpoints, "it holds no checkpoint"),
    Tampering("a record changed, and every leaf hash made to fit", "the root of the tree",
              rewrite_leaf, "one of them is not what was signed"),
    Tampering("records added without the guard, with right leaf hashes",
              "the signed head, which ends before them", add_record, "no key signed it"),
    Tampering("history rewritten and signed anew with a stolen OLD key after a change of keys",
              "the key that was in use at each size", rewrite_with_old_key, "was in use"),
    Tampering("the same, with the change of keys left out", "the public key in use",
              rewrite_before_rotation, "signed size"),
    Tampering("the retired key used for the signed head", "the key that was in use",
              sign_with_retired_key, "signed head.*was in use"),
    Tampering("the retired key used for a checkpoint", "the key that was in use",
              checkpoint_by_retired_key, "checkpoint .*was in use"),
    Tampering("two checkpoints of one size with different roots", "the second one", second_root,
              "two checkpoints of size"),
    Tampering("two checkpoints swapped", "their order", swap_checkpoints, "swapped|another root"),
    Tampering("`keys/audit.pub` replaced by the retired one", "the change of keys on record",
              replace_public_key, "not to the trusted key"),
    Tampering("a table replaced by a view of the same name", "the layout", show_a_view,
              "not those of this layout"),
    Tampering("a page of the file overwritten", "SQLite's own check", damage_file, "damaged"),
)  # fmt: skip


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.what)
def test_tampering_is_found_and_named(row: Tampering, state: Path, story: Story) -> None:
    row.act(state, story)

    with pytest.raises((TamperedRecordError, DamagedDatabaseError), match=row.words):
        verify_record(state)


ONLY_BY_THE_VERB = (checkpoint_by_retired_key, show_a_view)
"""A needless checkpoint with the true root, and what the tables show to people."""

AT_START = [row for row in TABLE if row.found != ROW and row.act not in ONLY_BY_THE_VERB]


@pytest.mark.parametrize("row", AT_START, ids=lambda row: row.what)
def test_a_guard_does_not_go_on_with_such_a_record(
    row: Tampering, state: Path, story: Story
) -> None:
    """What the tables show to people is checked by the verb; what is signed, also by each start."""
    row.act(state, story)
    before = {it: it.read_bytes() for it in state.rglob("*") if it.is_file()}

    async def start() -> None:
        trail = AuditTrail.open(state, account=story.account, epoch=1, clock=SystemClock())
        try:
            list(trail.read_all())
        finally:
            await trail.close()

    with pytest.raises(StateFolderError):
        asyncio.run(start())
    assert {it: it.read_bytes() for it in before} == before


# -- a start from a checkpoint, which reads only what came after it ------------------------------


async def start_from_the_checkpoint(folder: Path, story: Story) -> str:
    """Open the record as a guard does, and check the rest as it does; returns the finding.

    Raises:
        StateFolderError: the start is refused.
    """
    opened = OpenedState(
        folder,
        account_id=int(story.account),
        epoch=1,
        clock=SystemClock(),
        mirror=None,
        on_fault=lambda _component, _fault: None,
        on_note=lambda _note: None,
    )
    loop = asyncio.get_running_loop()
    finding: asyncio.Future[str] = loop.create_future()
    check = RecordCheck(
        folder,
        account=story.account,
        start=opened.trail.start,
        standing="",
        on_finding=finding.set_result,
        on_fault=lambda _fault: None,
    )
    checking = asyncio.create_task(check.run())
    try:
        if opened.records_lost:
            return f"{opened.records_lost} records are lost. {opened.record_kept}"
        assert not opened.trail.start.whole
        async with asyncio.timeout(30):
            return await finding
    finally:
        checking.cancel()
        await asyncio.gather(checking, return_exceptions=True)
        await opened.trail.close()
        await opened.close()


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.what)
def test_a_start_from_a_checkpoint_hides_nothing(
    row: Tampering, state: Path, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused, or found beside the running guard; the tables for people by the verb."""
    monkeypatch.setattr(audit_start, "WHOLE_CHECK_RECORDS", 0)
    row.act(state, story)

    try:
        finding = asyncio.run(start_from_the_checkpoint(state, story))
    except StateFolderError:
        return
    if row.act in {delete_database, empty_database}:
        assert "lost" in finding
        assert (state / "audit.db").exists(), "a new record has begun"
        (kept,) = state.glob("record-*")
        with pytest.raises(TamperedRecordError, match=row.words):
            verify_record(kept)
    if row in AT_START:
        assert finding
        assert "\n" not in finding
    else:
        with pytest.raises(TamperedRecordError, match=row.words):
            verify_record(state)


def test_a_start_from_a_checkpoint_finds_nothing_in_an_untouched_record(
    state: Path, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_start, "WHOLE_CHECK_RECORDS", 0)

    assert asyncio.run(start_from_the_checkpoint(state, story)) == ""


def test_an_untouched_record_is_good(story: Story, state: Path) -> None:
    report = verify_record(state)

    assert report.records == story.records
    assert (report.orders, report.fills, report.proofs) == (9, 3, 3)
    assert len(report.key_ids) == 2


def test_an_older_layout_is_told_as_one_and_is_no_tampering(state: Path) -> None:
    change(state, "DROP TABLE TreeHead")
    change(state, "PRAGMA user_version = 1")

    with pytest.raises(StateFolderError, match=r"layout 1, of an older Backstop.*not changed"):
        verify_record(state)


def test_the_page_is_this_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


def page() -> str:
    rows = "\n".join(f"| {row.what} | {row.found} |" for row in TABLE)
    return (
        "# What the audit finds\n\n"
        "Each row is done to a real record and found by `backstop audit verify`, in the test\n"
        "`tests/app/test_tamper_table.py`, which also writes this page.\n\n"
        "A guard adds nothing to such a record: its start ends with exit code 2. There are three\n"
        "exceptions:\n\n"
        "- Where it starts from a state file and reads only what came after that, a check of the\n"
        "  whole record beside it finds the rest: entries are refused from then on, and `resume`\n"
        "  too, until a check finds nothing.\n"
        "- Where nothing of the record is left (`audit.db` deleted or emptied beside\n"
        "  `checkpoints/`), nothing can be gone on with, and a position may wait. What is left is\n"
        "  kept in a folder `record-…`, and a new record begins. Its first entries hold the\n"
        "  newest state of the account that a file has, and what had been signed of the old\n"
        "  record. The guard is HALTED until a person resumes.\n"
        "- An older copy of the record with its own signed head, beyond which no checkpoint was\n"
        "  written yet, is the record for all that is signed. Where a state file knows more, that\n"
        "  state goes on record and the guard is HALTED likewise.\n\n"
        "Rows of `OrderAudit` and `FillAudit`, which are for people, are compared by the verb\n"
        "alone.\n\n"
        f"| what is done | what shows it |\n| --- | --- |\n{rows}\n"
    )
