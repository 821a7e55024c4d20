"""Bugs that are planted on purpose, to see whether the storm finds them.

Each is a small change of shipped code, as somebody might make it by mistake. It is put into the
functions of the running process and taken out again; nothing of it is in the code that ships.
"""

import importlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FunctionType, ModuleType
from typing import Final

from msgspec import Struct

from backstop.errors import InvariantError
from backstop.storm.plan import Weather


class Mutation(Struct, frozen=True, kw_only=True):
    """One planted bug.

    Attributes:
        name: what somebody forgot, or thought would do.
        weather: in which it shows first.
        module: where, below ``backstop``.
        old: text of its source, which is there once.
        new: what stands there instead.
        more: further texts of the same module, each with what stands there instead.
        constants: numbers of the same module, each with what is taken instead.
        behind: it shows to bots behind the gateway alone.
    """

    name: str
    weather: Weather
    module: str
    old: str
    new: str
    more: tuple[tuple[str, str], ...] = ()
    constants: tuple[tuple[str, int], ...] = ()
    behind: bool = False


MUTATIONS: Final = (
    Mutation(
        name="resend on timeout",
        weather=Weather.GATEWAY,
        module="adapters.projectx.rest",
        old='            return unanswered(f"it may have arrived: {error}")',
        new="            return await self.change(change, body, purpose=purpose)",
    ),
    Mutation(
        name="take silence for proof that nothing was sent",
        weather=Weather.GATEWAY,
        module="adapters.projectx.rest",
        old='            return unanswered(f"it may have arrived: {error}")',
        new='            return not_sent(f"it may have arrived: {error}")',
    ),
    Mutation(
        name="skip the look-up by tag",
        weather=Weather.GATEWAY,
        module="core.evidence",
        old="        case Ask.LOOK_UP:\n",
        new="        case Ask.LOOK_UP if False:\n",
    ),
    Mutation(
        name="let commands leave before they are on disk",
        weather=Weather.CALM,
        module="app.loop",
        old="        self._journal.submit(batch, partial(self._told, pending))",
        new="        self._journal.submit(batch, lambda _error: None); self._told(pending, None)",
    ),
    Mutation(
        name="send entries while the disk takes nothing",
        weather=Weather.DISK,
        module="core.unrecorded",
        old="            return command.reduces_risk\n",
        new="            return True\n",
    ),
    Mutation(
        name="keep exits back while the disk takes nothing",
        weather=Weather.DISK,
        module="core.unrecorded",
        old="            return True  # the venue's own close never opens or enlarges a position",
        new="            return False",
    ),
    Mutation(
        name="forget which trades were counted",
        weather=Weather.GATEWAY,
        module="core.trade_evidence",
        old="    if known:\n",
        new="    if known and held is not None and held.voided:\n",
    ),
    Mutation(
        name="ignore voided trades",
        weather=Weather.OTHERS,
        module="core.trade_evidence",
        old="        known = held.voided or not trade.voided\n",
        new="        known = True\n",
    ),
    Mutation(
        name="believe an empty list of positions",
        weather=Weather.GATEWAY,
        module="core.positions",
        old="    return (\n        _is_witness(view, quantity)\n",
        new="    return True or (\n        _is_witness(view, quantity)\n",
    ),
    Mutation(
        name="believe a snapshot that is older than the events",
        weather=Weather.GATEWAY,
        module="core.positions",
        old="    if sent_ns < view.evidence_ns:\n",
        new="    if sent_ns < 0:\n",
        constants=(("SNAPSHOT_LAG_NS", 0),),
    ),
    Mutation(
        name="count a trade that a read explained once more",
        weather=Weather.GATEWAY,
        module="core.positions",
        old="        explained = min(counted, abs(signed_quantity))\n",
        new="        explained = 0\n",
    ),
    Mutation(
        name="take orders of before a restart for sent",
        weather=Weather.CRASH,
        module="core.execution_verification",
        old="    if order.state in {OrderState.INTENDED, OrderState.SENT}:\n",
        new="    if order.state in ():\n",
    ),
    Mutation(
        name="count orders of unknown fate as zero",
        weather=Weather.GATEWAY,
        module="core.fillable",
        old="        quantity=order.open_quantity,\n",
        new='        quantity=0 if str(order.state) == "UNKNOWN" else order.open_quantity,\n',
    ),
    Mutation(
        name="count only what works, not what is on its way",
        weather=Weather.GATEWAY,
        module="core.fillable",
        old="        quantity=order.open_quantity,\n",
        new="        quantity=order.open_quantity if order.is_shown else 0,\n",
    ),
    Mutation(
        name="let an unfilled order hedge",
        weather=Weather.CALM,
        module="core.fillable",
        old="        max(held + sides[Side.BUY] for held, sides in ends),\n",
        new="        max(held + max(0, sides[Side.BUY] - sides[Side.SELL])\n"
        "            for held, sides in ends),\n",
    ),
    Mutation(
        name="do not protect what others bought",
        weather=Weather.OTHERS,
        module="core.protection_situation",
        old="    if book.policy.external_position_policy is not ExternalPositionPolicy.ALERT:\n",
        new="    if False:\n",
    ),
    Mutation(
        name="never give a naked position up",
        weather=Weather.OTHERS,
        module="core.naked_time",
        old="    if is_being_closed(book, contract_id):\n        return\n    record",
        new="    if True:\n        return\n    record",
    ),
    Mutation(
        name="take a suspended leg for a working stop",
        weather=Weather.CALM,
        module="core.protective_orders",
        old="LegRole.STOP_LOSS)\n        if row.status is BrokerStatus.OPEN and",
        new="LegRole.STOP_LOSS)\n        if row.status.is_live and",
    ),
    Mutation(
        name="leave legs behind when the position is gone",
        weather=Weather.CALM,
        module="core.leftovers",
        old="    if not book.woken(Wake.ORPHANS, work.now_ns):\n",
        new="    if book.woken(Wake.ORPHANS, work.now_ns) or True:\n",
    ),
    Mutation(
        name="take every leg for a leftover",
        weather=Weather.CALM,
        module="core.leftovers",
        old="    if any(held * sign < 0 for held in (view.ledger, view.differing or 0, to_come)):\n"
        "        return False\n    if view.quantity == 0:\n        return view.ledger == 0",
        new="    if True:\n        return True",
    ),
    Mutation(
        name="cut the stops by one contract more than is too many",
        weather=Weather.CALM,
        module="core.protection_surplus",
        old="    return stop_cuts(\n        now.quantity,",
        new="    return stop_cuts(\n        max(0, now.quantity - 1),",
    ),
    Mutation(
        name="leave stops larger than the position",
        weather=Weather.CALM,
        module="core.protection_surplus",
        old="    if not cuts or _is_going(work, now, cuts):\n        return\n",
        new="    if True:\n        return\n",
    ),
    Mutation(
        name="cancel before close",
        weather=Weather.CALM,
        module="core.liquidation_acts",
        old="    if is_proven_flat(book, row.contract_id):\n",
        new="    if True:\n",
    ),
    Mutation(
        name="close again while a close is under way",
        weather=Weather.GATEWAY,
        module="core.closing",
        old="        if attempt.needs_look or work.now_ns < due_ns:\n            return False\n",
        new="        if False:\n            return False\n",
    ),
    Mutation(
        name="do not close in a liquidation",
        weather=Weather.CALM,
        module="core.closing",
        old="    if wanted <= 0 or not _may_close(work, run, contract_id, position):\n",
        new="    if True:\n",
    ),
    Mutation(
        name="let entries pass while halted",
        weather=Weather.CALM,
        module="core.entry_gate",
        old="    if code is not None:\n",
        new="    if code is None:\n",
    ),
    Mutation(
        name="forget latches at a restart",
        weather=Weather.CRASH,
        module="core.lifecycle",
        old="    book.recovered = False\n    book.standstills = 0\n",
        new="    book.recovered = False; book.latches = ()\n    book.standstills = 0\n",
    ),
    Mutation(
        name="read the account once and never again",
        weather=Weather.NETWORK,
        module="core.account_reads",
        old="    clock.due_ns = work.now_ns + AUDIT_INTERVAL_NS\n",
        new="    clock.due_ns = work.now_ns + 100_000 * AUDIT_INTERVAL_NS\n",
    ),
    Mutation(
        name="let the cursor of trades not overlap",
        weather=Weather.GATEWAY,
        module="core.account_reads",
        old="            since_utc_us=since_us - LOOK_BACK_US,\n",
        new="            since_utc_us=since_us + LOOK_BACK_US,\n",
        # What a read shows and no trade explains would have them read from a day ago.
        more=(
            (
                "    since_us = min(since_us, clock.reach_back_utc_us or since_us)\n",
                "",
            ),
        ),
    ),
    Mutation(
        name="replay a record twice after a restart",
        weather=Weather.CRASH,
        module="app.state_opening",
        old="            self._next_seq = checkpoint.journal_seq + 1\n",
        new="            self._next_seq = max(1, checkpoint.journal_seq - 5)\n",
    ),
    Mutation(
        name="start from the checkpoint without the journal's tail",
        weather=Weather.CRASH,
        module="app.state_opening",
        old="            self._next_seq = checkpoint.journal_seq + 1\n",
        new="            self._next_seq = checkpoint.journal_seq + 1_000_000\n",
    ),
    Mutation(
        name="forget fsync of the state file",
        weather=Weather.CRASH,
        module="adapters.state_file",
        old="                self._disk.sync(descriptor)\n",
        new="                pass\n",
    ),
    Mutation(
        name="forget fsync of the folder",
        weather=Weather.CRASH,
        module="adapters.state_file",
        old="            self._take_place(new, descriptor)\n"
        "            self._disk.sync_folder(self.folder)\n",
        new="            self._take_place(new, descriptor)\n",
    ),
    Mutation(
        name="an order of a bot under another name each time",
        weather=Weather.CALM,
        module="entrypoints.gateway.bot_orders",
        old="        name = tag or UNTAGGED_PREFIX + uuid.uuid4().hex\n",
        new='        name = f"{tag}#{len(book.orders)}"\n',
        behind=True,
    ),
    Mutation(
        name="tell bots of an order again with each of its trades",
        weather=Weather.CALM,
        module="entrypoints.gateway.user_events",
        old="        if self._orders.get(number) == essence:\n            return\n",
        new="",
        behind=True,
    ),
    Mutation(
        name="tell a bot that an order of unknown fate was refused",
        weather=Weather.HURRICANE,
        module="entrypoints.gateway.bot_orders",
        old="        code=PlaceCode.PENDING,\n",
        new="        code=PlaceCode.REJECTED,\n",
        behind=True,
    ),
)
"""Every planted bug, in the order in which the table has them."""


@contextmanager
def planted(mutation: Mutation) -> Iterator[None]:
    """Have the bug in this process, inside the block."""
    module = importlib.import_module(f"backstop.{mutation.module}")
    changed = _code_of(_mutated_source(mutation, module), module)
    before: list[tuple[FunctionType, CodeType]] = []
    for function in _functions(module):
        code = changed.get(function.__qualname__)
        if code is not None and _differs(code, function.__code__):
            before.append((function, function.__code__))
            function.__code__ = code
    if not before:
        raise InvariantError(f"{mutation.name}: it changes no function of {mutation.module}")
    constants = {name: getattr(module, name) for name, _ in mutation.constants}
    vars(module).update(mutation.constants)
    try:
        yield
    finally:
        vars(module).update(constants)
        for function, code in before:
            function.__code__ = code


def _mutated_source(mutation: Mutation, module: ModuleType) -> str:
    source = inspect.getsource(module)
    for old, new in ((mutation.old, mutation.new), *mutation.more):
        found = source.count(old)
        if found != 1:
            raise InvariantError(
                f"{mutation.name}: its text is {found} times in {mutation.module}, and must be "
                "there once. The code was changed: change the mutation with it."
            )
        source = source.replace(old, new)
    return source


def _code_of(source: str, module: ModuleType) -> dict[str, CodeType]:
    """Return the code of every function in ``source``, by qualified name."""
    found: dict[str, CodeType] = {}

    def gather(code: CodeType) -> None:
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                found[constant.co_qualname] = constant
                gather(constant)

    gather(compile(source, module.__file__ or "mutated", "exec"))
    return found


def _functions(module: ModuleType) -> Iterator[FunctionType]:
    """Yield the functions of a module and the methods of its classes."""
    for value in vars(module).values():
        if getattr(value, "__module__", None) != module.__name__:
            continue
        members = vars(value).values() if isinstance(value, type) else (value,)
        for member in members:
            inner = member.fget if isinstance(member, property) else member
            inner = getattr(inner, "__func__", inner)
            if isinstance(inner, FunctionType):
                yield inner


def _differs(code: CodeType, other: CodeType) -> bool:
    """Say whether two codes do something else; their line numbers are no matter."""
    constants = zip(code.co_consts, other.co_consts, strict=False)
    return (
        code.co_code != other.co_code
        or code.co_names != other.co_names
        or len(code.co_consts) != len(other.co_consts)
        or any(
            _differs(one, two)
            if isinstance(one, CodeType) and isinstance(two, CodeType)
            else one != two
            for one, two in constants
        )
    )
