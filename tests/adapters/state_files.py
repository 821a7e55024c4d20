"""Checkpoints and heartbeats for tests: what is not said is harmless and fixed."""

from typing import Any

import msgspec

from backstop.adapters.state_format import Checkpoint, Heartbeat, TreeState

ACCOUNT = 42
START_US = 1_790_000_000_000_000


def a_checkpoint(seq: int = 1, **changes: Any) -> Checkpoint:
    members: dict[str, Any] = {
        "account_id": ACCOUNT,
        "record": "ab" * 32,
        "software": "1",
        "machine": "desk",
        "boot_id": "boot",
        "process_id": 7,
        "utc_us": START_US + seq,
        "monotonic_ns": 5,
        "journal_seq": seq,
        "archive_seq": 0,
        "tree": TreeState(size=0, peaks=()),
        "book": msgspec.Raw(b'{"positions":{"MES":%d}}' % seq),
    }
    return Checkpoint(**(members | changes))


def a_beat(number: int = 1, **changes: Any) -> Heartbeat:
    members: dict[str, Any] = {
        "utc_us": START_US + number,
        "monotonic_ns": number,
        "boot_id": "boot",
        "guarded_utc_us": START_US,
        "guarded_monotonic_ns": 1,
        "journal_seq": number,
        "steps": number,
    }
    return Heartbeat(**(members | changes))
