"""Writes the pages of docs/reference that follow from the code, or checks that they still do.

``python tools/reference_pages.py --write`` renews them; ``--check`` ends with 1 and names the pages
that say something else than the code. A test runs ``--check``.
"""

import argparse
import sys
from pathlib import Path

from reference_alerts import alerts_page
from reference_interfaces import command_line_page, http_api_page
from reference_log import log_page
from reference_metrics import metrics_page
from reference_values import (
    denial_codes_page,
    faults_page,
    liquidation_states_page,
    order_states_page,
    settings_page,
    switches_page,
    trading_states_page,
)

FOLDER = Path(__file__).parents[1] / "docs" / "reference"

PAGES = {
    "alerts.md": alerts_page,
    "command-line.md": command_line_page,
    "denial-codes.md": denial_codes_page,
    "faults.md": faults_page,
    "http-api.md": http_api_page,
    "liquidation-states.md": liquidation_states_page,
    "log.md": log_page,
    "metrics.md": metrics_page,
    "order-states.md": order_states_page,
    "settings.md": settings_page,
    "switches.md": switches_page,
    "trading-states.md": trading_states_page,
}


def main() -> int:
    """Write or check every page; return the exit code."""
    parser = argparse.ArgumentParser(description="Reference pages from the code.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--write", action="store_true", help="renew the pages")
    what.add_argument("--check", action="store_true", help="name the pages that are out of date")
    write = parser.parse_args().write
    stale = 0
    for name, make in PAGES.items():
        path, text = FOLDER / name, make()
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        if write:
            path.write_text(text, encoding="utf-8")
            print(f"written: {path}")
        else:
            stale += 1
            print(
                f"out of date: docs/reference/{name}; run: python tools/reference_pages.py --write"
            )
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
