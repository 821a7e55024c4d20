"""The program as a process, and what it printed; and a set-up for it to tell of."""

import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

from backstop.domain.events import Hub
from backstop.domain.set_up import (
    AccountLook,
    ClockLook,
    DataLook,
    DiskLook,
    GatesLook,
    Holder,
    HubLook,
    LockLook,
    LoginLook,
    SetUp,
)

PROGRAM = Path(sys.executable).with_name("backstop")
ACCOUNT_ID = 4711


class Outcome(NamedTuple):
    code: int | None
    out: str
    err: str


Call = Callable[..., Coroutine[Any, Any, Outcome]]

A_SET_UP = SetUp(
    disk=DiskLook(folder="state", writes=20, typical_us=1_500, slowest_us=3_000),
    lock=LockLook(account_id=ACCOUNT_ID, holder=Holder.GUARD, process_id=4711),
    gates=GatesLook(dry_run=True, execute=False, observe_only=False, trading_state="ACTIVE"),
    clock=ClockLook(offset_ms=120, limit_ms=5_000),
    login=LoginLook(),
    account=AccountLook(account_id=ACCOUNT_ID, name="practice", can_trade=True),
    hubs=tuple(HubLook(hub=hub, connected=True) for hub in Hub),
    data=(DataLook(symbol="ES", age_ms=40, limit_ms=2_000, listened_ms=None, is_open=True),),
)
