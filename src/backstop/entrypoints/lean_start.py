"""Shortens the guard's own start by how its modules are loaded; nothing depends on it.

The two libraries are used everywhere below the guard, so they are loaded anyway; this only comes
first.
"""

import gc
import sys
from importlib import import_module
from threading import Thread

SWITCH_INTERVAL_S = 0.0001
"""How long the journal's thread waits for the interpreter while facts are decided. It asks for it
some ten times for each commit, and a commit takes a few of these; Python's own 5 ms are ten commits
long. Shorter still brings nothing more: the threads then spend the time on taking turns."""


def load_libraries() -> None:
    """Load aiohttp beside everything else, and structlog without its ornaments.

    Garbage is not collected from here to ``all_is_loaded``: modules leave hardly any, and looking
    for it takes a tenth of the time of loading them.
    """
    gc.disable()
    # aiohttp reads all of the system's certificates, twice, while it is imported: 70 ms in which
    # the interpreter is free for our own modules.
    Thread(target=import_module, args=("aiohttp",), name="import aiohttp", daemon=True).start()
    # structlog loads rich, where it is installed, for tracebacks of a kind that is not used here:
    # a fifth of all that the guard loads.
    _import_without("rich", "structlog")


def all_is_loaded() -> None:
    """Collect garbage from now on, but never look through what was loaded: it stays.

    And let the threads take turns quickly.
    """
    gc.freeze()
    gc.enable()
    sys.setswitchinterval(SWITCH_INTERVAL_S)


def _import_without(unwanted: str, wanted: str) -> None:
    """Import ``wanted`` as if ``unwanted`` were not installed; afterwards it is there again."""
    if unwanted in sys.modules:
        return
    sys.modules[unwanted] = None  # type: ignore[assignment] # how Python notes "not to be found"
    try:
        import_module(wanted)
    finally:
        del sys.modules[unwanted]
