"""The verbs that check the record and hand it on: verify, prove, export, rotate-key.

Exit codes: 0 good, 1 tampered with or refused, 2 cannot be checked or used.
"""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from backstop.adapters.clock import SystemClock
from backstop.adapters.lock import AccountLock
from backstop.adapters.state_layout import AUDIT_DATABASE
from backstop.app.audit_bundle import order_bundle
from backstop.app.audit_export import ExportRefusedError, export_record
from backstop.app.audit_verification import AuditReport, verify_record
from backstop.app.key_change import recorded_writer, rotate_key
from backstop.config.settings import Settings
from backstop.domain.numbers import count_text
from backstop.entrypoints.place import state_folder
from backstop.entrypoints.terminal import complain, progress, say, say_json
from backstop.errors import (
    BackstopError,
    DamagedDatabaseError,
    NoBundleError,
    SetupError,
    TamperedRecordError,
)

REFUSED = 1
"""Exit code of a record that does not hold, and of a proof that cannot be given."""

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def verify(
    *,
    key: Annotated[
        Path | None,
        typer.Option(
            help="The newest public key, kept elsewhere; keys/audit.pub of the state folder "
            "otherwise.",
        ),
    ] = None,
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option(help="A file with checkpoints that was kept elsewhere; may be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check the record of the state folder: every record, row, proof, signature and checkpoint.

    Ends with 0 when all of it holds, with 1 and the first thing that does not.
    """
    settings = Settings.load(require_credentials=False)
    try:
        with progress() as show:
            report = verify_record(
                settings.state_folder,
                public_key=key,
                checkpoints=tuple(checkpoint or ()),
                mirror=settings.checkpoint_mirror,
                on_progress=lambda what, done, total: show(
                    f"checking {what}: {done} of {total} records"
                ),
            )
    except (TamperedRecordError, DamagedDatabaseError) as error:
        _say_tampered(error, as_json=as_json)
        raise typer.Exit(REFUSED) from None
    if as_json:
        say_json({"verdict": "GOOD", "finding": None, **msgspec.to_builtins(report)})
    else:
        _say_good(report)


def prove(
    order: Annotated[
        str, typer.Argument(metavar="ID", help="The client order id, or the broker's order id.")
    ],
    *,
    out: Annotated[Path | None, typer.Option(help="Where to write it; stdout otherwise.")] = None,
) -> None:
    """Write a bundle that proves an order to others: 'backstop-verify BUNDLE --key audit.pub'."""
    try:
        bundle = order_bundle(state_folder(), order)
    except NoBundleError as error:
        raise _refused(error) from None
    if out is None:
        say(bundle.decode())
        return
    try:
        out.write_bytes(bundle + b"\n")
    except OSError as error:
        raise SetupError(
            f"{out} cannot be written: {error.strerror}. "
            "Allowed for --out: a file in a folder that is there."
        ) from error
    say(f"written: {out}")


def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Write the whole record as files that never change, with a manifest, and tables as CSV.

    Ends with 0 when it is written, 1 when the record does not hold or DIR has other files.
    """
    try:
        with progress() as show:
            exported = export_record(
                state_folder(), folder, on_progress=lambda done: show(f"writing record {done}")
            )
    except TamperedRecordError as error:
        _say_tampered(error, as_json=as_json)
        raise typer.Exit(REFUSED) from None
    except ExportRefusedError as error:
        raise _refused(error) from None
    if as_json:
        say_json({"folder": str(folder), **msgspec.to_builtins(exported)})
        return
    say(
        f"written: {folder}: {count_text(exported.records, 'record')} in "
        f"{count_text(exported.segments, 'segment')}, {count_text(exported.orders, 'order')}, "
        f"{count_text(exported.fills, 'fill')}"
    )


def rotate() -> None:
    """Sign with a new key from now on, while no guard is running.

    The change is a record that both keys sign; what the old key signed before stays good.
    """
    settings = Settings.load(require_credentials=False)
    writer = recorded_writer(settings.state_folder)
    with AccountLock(gateway_host=writer.gateway_host, account=writer.account):
        change = rotate_key(
            settings.state_folder,
            account=writer.account,
            clock=SystemClock(),
            mirror=settings.checkpoint_mirror,
        )
    say(
        f"key {change.new_key_id} signs from record {change.seq} on; {change.old_key_id} is retired"
    )
    say(f"Give the new public key to those who check: {change.public_key_path}")


def _say_good(report: AuditReport) -> None:
    say(f"GOOD: the record of account {report.account} is what was signed")
    say(f"records      {report.records}, tree root {report.root}")
    say(f"checkpoints  {report.checkpoints} outside the database")
    say(f"orders       {report.orders}")
    say(f"fills        {report.fills}")
    say(f"proofs       {report.proofs}")
    say(f"keys         {', '.join(report.key_ids)}")
    for outage in report.outages:
        missing = f", {outage.lost} facts missing" if outage.lost else ""
        say(
            f"outage       {outage.began} to {outage.ended}: records {outage.first_seq} to "
            f"{outage.last_seq} were written late{missing}. {outage.reason}"
        )


def _say_tampered(error: BackstopError, *, as_json: bool) -> None:
    where = error.where if isinstance(error, TamperedRecordError) else AUDIT_DATABASE
    what = error.finding if isinstance(error, TamperedRecordError) else str(error)
    if as_json:
        say_json({"verdict": "TAMPERED", "finding": {"where": where, "what": what}})
    else:
        say(f"TAMPERED: {where}: {what}")


def _refused(error: BackstopError) -> typer.Exit:
    complain(f"backstop: {error}")
    return typer.Exit(REFUSED)
