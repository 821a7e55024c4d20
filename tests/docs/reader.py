"""A reader who does everything that a page says, and what he did before he came to it."""

import re
from pathlib import Path

from tests.docs.markdown import REPO, Command, blocks
from tests.docs.terminal import Terminal

SIMULATOR = Command("backstop simulate --port 8730 --user trader --api-key practice", ())
TO_THE_SIMULATOR = Command("export TOPSTEPX_API_URL=http://127.0.0.1:8730", ())
AS_TRADER = Command(
    "export TOPSTEPX_USERNAME=trader TOPSTEPX_API_KEY=practice TOPSTEPX_ACCOUNT_ID=31004502", ()
)
SENDING = Command(
    "export DRY_RUN=0 EXECUTE=1 BACKSTOP_CALENDAR=always-open BACKSTOP_STATE_DIR=state", ()
)

AT_ANY_HOUR = Command("export BACKSTOP_CALENDAR=always-open", ())

HOWTO = REPO / "docs" / "howto"
TUTORIAL = REPO / "docs" / "tutorial"


def carry_out(terminal: Terminal, page: Path) -> None:
    """Do everything a page says; a text block holds what the script before it prints."""
    printed = ""
    for block in blocks(page):
        if block.language == "console" and block.body.startswith("$ make"):
            continue
        if block.language == "bash":
            continue  # needs what no test has: a person at the keyboard, or an account of a service
        if block.language == "text":
            for line in block.body.splitlines():
                assert re.search(re.escape(line).replace("…", ".*"), printed), printed
            continue
        printed = terminal.carry_out(block)
