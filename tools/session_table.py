"""Writes the table of days on which CME Globex keeps other hours than usual.

Run at a release, with ``pip install pandas_market_calendars`` in the environment:

    python tools/session_table.py --write

Without ``--write`` it says whether the table in the source is what the library says today.
"""

import argparse
import sys
from datetime import date, timedelta
from pathlib import Path

import pandas_market_calendars

TABLE = Path(__file__).parents[1] / "src/backstop/adapters/session_exceptions.py"

CALENDARS = {
    "EQUITY": "CME Globex Equity",
    "RATES": "CME Globex Interest Rate Products",
    "CURRENCIES": "CMEGlobex_FX",
    "ENERGY": "CMEGlobex_Crude",
    "METALS": "CMEGlobex_Gold",
}
FIRST = date(2025, 1, 1)
LAST = date(2031, 12, 31)
_SATURDAY = 5
_USUAL_CLOSE = "16:00"
_USUAL_OPEN = "17:00"

HEADER = '''"""Days with other hours on CME Globex than usual: made by tools/session_table.py.

For each group: the trade date, and the Chicago time at which its session closes early, or None
when there is no session. From pandas_market_calendars {version}.
"""

from backstop.domain.session import MarketGroup

FIRST_DATE = "{first}"
LAST_DATE = "{last}"
"""Outside these dates nothing is known of holidays."""

'''


def exceptions(calendar_name: str) -> dict[str, str | None]:
    """Return the early closes and the days without a session of one calendar."""
    calendar = pandas_market_calendars.get_calendar(calendar_name)
    schedule = calendar.schedule(FIRST.isoformat(), LAST.isoformat(), tz="America/Chicago")
    sessions = {index.date(): row for index, row in schedule.iterrows()}
    found: dict[str, str | None] = {}
    day = FIRST
    while day <= LAST:
        if day.weekday() < _SATURDAY:
            session = sessions.get(day)
            if session is None:
                found[day.isoformat()] = None
            else:
                opens = session.market_open
                if opens.strftime("%H:%M") != _USUAL_OPEN or opens.date() >= day:
                    sys.exit(f"{calendar_name} {day}: opens {opens}, which the table cannot say")
                closes = session.market_close.strftime("%H:%M")
                if closes != _USUAL_CLOSE:
                    found[day.isoformat()] = closes
        day += timedelta(days=1)
    return found


def table() -> str:
    """Return the whole module."""
    text = HEADER.format(
        version=pandas_market_calendars.__version__,
        first=FIRST.isoformat(),
        last=LAST.isoformat(),
    )
    text += "EXCEPTIONS: dict[MarketGroup, dict[str, str | None]] = {\n"
    for group, name in CALENDARS.items():
        text += f"    MarketGroup.{group}: {{\n"
        for day, closes in exceptions(name).items():
            shown = "None" if closes is None else f'"{closes}"'
            text += f'        "{day}": {shown},\n'
        text += "    },\n"
    return text + "}\n"


def main() -> int:
    """Write or compare the table."""
    parser = argparse.ArgumentParser(description="The table of unusual Globex sessions.")
    parser.add_argument("--write", action="store_true", help="write it into the source")
    wanted = table()
    if parser.parse_args().write:
        TABLE.write_text(wanted, encoding="utf-8")
        return 0
    same = TABLE.read_text(encoding="utf-8") == wanted
    sys.stdout.write("up to date\n" if same else "other than the library says\n")
    return 0 if same else 1


if __name__ == "__main__":
    raise SystemExit(main())
