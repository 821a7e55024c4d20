"""The colours of the command line: words that every verb uses mean the same everywhere.

Green is what one may rely on, yellow what one should know, red what has to be acted on.
"""

from typing import TextIO

from rich.console import Console
from rich.highlighter import RegexHighlighter
from rich.theme import Theme

_THEME = Theme(
    {
        "word.bad": "bold red",
        "word.doubt": "yellow",
        "word.good": "green",
        "word.next": "cyan",
        "word.name": "bold",
        "word.heads": "not bold default underline",
    },
    inherit=False,
)


_GOOD = "OK|ACTIVE|APPROVED|ACCEPTED|GOOD|FLAT|FULL|KNOWN|connected|accepted"
_DOUBT = "WARN|WARNING|REDUCING|STARTING|RECOVERING|STALE|CLOSING|VERIFYING|EXECUTE OFF"
_NOTHING_SENT = "DRY RUN|EXECUTE IS OFF|OBSERVE ONLY"
_BAD = (
    "FAIL|HALTED|DENIED|TAMPERED|REFUSED|UNKNOWN|ESCALATED|BROKEN|CRITICAL|NEVER|NAKED|EXPIRED|"
    "LATCH|SWITCHED OFF|NO PRICE|NOT [A-Z]+"
)


class _Words(RegexHighlighter):
    base_style = "word."
    highlights = (  # later ones win: what is NOT good is bad
        rf"(?P<good>\b({_GOOD})\b)",
        rf"(?P<doubt>\b({_DOUBT})\b|\b({_NOTHING_SENT})\b(: .*)?)",
        rf"(?P<bad>\b({_BAD})\b|^backstop:)",
        r"(?P<name>\bSENDING: .*|\bSENDING\b)",
        r"(?P<next>\bbackstop [a-z]+( --?[a-z-]+| [A-Z]\b)*|^ +-> .*)",
        r"(?m)(?P<heads>^[A-Z][A-Z$%/ ]*(  +[A-Z][A-Z$%/ ]*)+$)",  # of a table
    )


def paint(text: str, stream: TextIO) -> None:
    """Print ``text`` to a terminal, its words coloured and nothing else of it changed."""
    console = Console(
        file=stream,
        theme=_THEME,
        highlighter=_Words(),
        soft_wrap=True,
        markup=False,
        emoji=False,
        force_terminal=True,
    )
    console.print(text)
