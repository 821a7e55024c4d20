"""The newest records of a journal, for people who look into a failure; nothing is checked here."""

import sqlite3
from contextlib import closing
from pathlib import Path

READ_LIMIT_S = 1.0
"""How long to wait for a writer's exclusive moments."""

PAYLOAD_BYTES_MAX = 65_536
"""Of one record; far more than is shown in the end, so that nothing secret is cut in half."""


def last_records(database: Path, count: int) -> tuple[str, ...]:
    """Return up to ``count`` records, oldest first, as rows of number, time, kind and payload.

    One that cannot be read is no reason for a second failure: it says why instead.
    """
    try:
        uri = f"{database.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=READ_LIMIT_S)) as connection:
            rows = connection.execute(
                "SELECT seq, utc_us, kind, substr(payload, 1, ?) FROM Journal"
                " ORDER BY seq DESC LIMIT ?",
                (PAYLOAD_BYTES_MAX, count),
            ).fetchall()
    except sqlite3.Error as error:
        return (f"the journal cannot be read: {error}",)
    return tuple(
        f"{seq} {utc_us} {kind} {bytes(payload).decode('utf-8', errors='replace')}"
        for seq, utc_us, kind, payload in reversed(rows)
    )
