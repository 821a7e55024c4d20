"""Which liquidations there are: one run for each scope, that everybody who asks again joins."""

from msgspec.structs import replace

from backstop.core.book import Book
from backstop.core.liquidation import (
    CAUSES_KEPT,
    LIQUIDATIONS_KEPT,
    Cause,
    Liquidation,
    LiquidationState,
)
from backstop.core.liquidation_scope import unfinished, would_send
from backstop.core.positions import SETTLE_NS
from backstop.core.step import Tag, Workbench
from backstop.domain.alert_code import AlertCode
from backstop.domain.commands import ClosePosition, Severity
from backstop.domain.numbers import count_text


def running(book: Book, contract_id: str | None) -> Liquidation | None:
    """Return the run that takes ``contract_id`` flat already, or that can be widened to do it.

    None for ``contract_id`` is the whole account: the oldest liquidation of one contract becomes
    one of the account. While the gate is closed nothing runs: a rehearsal is found again by its
    scope until a person resumes.
    """
    if not book.policy.sends:
        rehearsed = (run for run in book.liquidations.values() if run.is_rehearsed)
        return next((run for run in rehearsed if run.contract_id == contract_id), None)
    runs = unfinished(book)
    whole = next((run for run in runs if run.contract_id is None), None)
    if whole is not None:
        return whole
    if contract_id is None:
        return next((run for run in runs if run.latches), None)
    return next((run for run in runs if run.contract_id == contract_id), None)


def put_on_record(
    work: Workbench,
    cause: Cause,
    contract_id: str | None,
    *,
    latches: bool,
    quantity: int | None = None,
    keep: int = 0,
) -> Liquidation:
    """Begin a run; one that begins while the gate is closed says what it would send, and rests."""
    book = work.book
    run = Liquidation(
        liquidation_id=_new_id(work),
        contract_id=contract_id,
        quantity=quantity,
        keep=keep,
        latches=latches,
        sends=book.policy.sends,
        causes=(cause,),
        state=LiquidationState.LATCHED if latches else LiquidationState.CLOSING,
        begun_utc_us=work.utc_us,
        begun_ns=work.now_ns,
        reads_first=not book.recovered,
        moved_ns=work.now_ns,
        progress_ns=work.now_ns,
        read_due_ns=work.now_ns + SETTLE_NS,
    )
    _keep(book, run)
    work.warn(
        Tag.CRITICAL_SYSTEM,
        "liquidation_begun",
        liquidation_id=run.liquidation_id,
        contract_id=contract_id or "",
        cause=cause.text,
        operator=cause.operator,
    )
    if run.sends:
        book.liquidating[run.liquidation_id] = None
        # A read that waits in line with ordinary ones must not hold up the urgent ones.
        book.audit.requested_ns = 0
    if latches:
        _tell(work, run)
    return run


def joined(
    work: Workbench, run: Liquidation, cause: Cause, contract_id: str | None, *, latches: bool
) -> Liquidation:
    """Add a cause to a run, and widen it where more is asked for than it did so far."""
    known = any((it.text, it.operator) == (cause.text, cause.operator) for it in run.causes)
    causes = run.causes if known else (*run.causes, cause)[:CAUSES_KEPT]
    wider = replace(
        run,
        causes=causes,
        latches=run.latches or latches,
        contract_id=None if contract_id is None else run.contract_id,
        quantity=None,
        keep=0,
    )
    if _scope(wider) != _scope(run):
        wider = replace(wider, clear_reads=0, moved_ns=work.now_ns, least=None, looks=0)
    if wider != run:
        work.book.liquidations[run.liquidation_id] = wider
        work.warn(
            Tag.CRITICAL_SYSTEM,
            "liquidation_joined",
            liquidation_id=run.liquidation_id,
            contract_id=wider.contract_id or "",
            cause=cause.text,
            operator=cause.operator,
        )
    return wider


def finished(work: Workbench, run: Liquidation, state: LiquidationState) -> Liquidation:
    """Close the record of a run."""
    book = work.book
    newest = max(max(book.trades, default=0), book.forgotten_trade_id or 0)
    run = replace(run, state=state, ended_utc_us=work.utc_us, newest_trade_id=newest)
    book.liquidations[run.liquidation_id] = run
    del book.liquidating[run.liquidation_id]
    for contract_id in tuple(book.closes):
        if not any(other.covers(contract_id) for other in unfinished(book)):
            del book.closes[contract_id]
    work.note(
        Tag.CRITICAL_SYSTEM,
        "liquidation_over",
        liquidation_id=run.liquidation_id,
        state=str(state),
        took_ms=(work.utc_us - run.begun_utc_us) // 1000,
    )
    return run


def rehearsals_over(work: Workbench) -> None:
    """Have the next liquidation that the gate keeps back be a new one: a person has resumed."""
    for run in tuple(work.book.liquidations.values()):
        if run.is_rehearsed:
            work.book.liquidations[run.liquidation_id] = replace(run, ended_utc_us=work.utc_us)


def _keep(book: Book, run: Liquidation) -> None:
    book.liquidations[run.liquidation_id] = run
    while len(book.liquidations) > LIQUIDATIONS_KEPT:
        oldest = next((name for name in book.liquidations if name not in book.liquidating), None)
        if oldest is None:
            break
        del book.liquidations[oldest]


def _new_id(work: Workbench) -> str:
    """Return a name that a replay gives again: the time of the request, and a number."""
    number = 1
    while (name := f"liq-{work.utc_us}-{number}") in work.book.liquidations:
        number += 1
    return name


def _scope(run: Liquidation) -> tuple[object, ...]:
    return run.contract_id, run.quantity, run.latches


def _tell(work: Workbench, run: Liquidation) -> None:
    cause = run.causes[0]
    what = "the account" if run.contract_id is None else run.contract_id
    if run.sends:
        work.alert(
            Severity.CRITICAL,
            AlertCode.LIQUIDATION_BEGUN,
            f"{run.liquidation_id} takes {what} flat for {cause.operator}: {cause.text}.",
        )
        return
    planned = would_send(work.book, run)
    closes = sum(isinstance(command, ClosePosition) for command in planned)
    work.alert(
        Severity.WARNING,
        AlertCode.LIQUIDATION_NOT_SENT,
        f"{cause.operator} asked to take {what} flat ({cause.text}); the gate is closed, so "
        f"nothing was sent. It would have closed {count_text(closes, 'position')} and cancelled "
        f"{count_text(len(planned) - closes, 'order')}.",
    )
