import json
import subprocess
import sys
from typing import Any


def in_a_fresh_interpreter(program: str) -> Any:
    """Run ``program`` and return what it printed, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60
    )
    return json.loads(done.stdout)


def test_the_guard_loads_without_the_ornaments_of_its_log() -> None:
    loaded = in_a_fresh_interpreter(
        "import json, sys\n"
        "from backstop.entrypoints.lean_start import load_libraries\n"
        "load_libraries()\n"
        "import backstop.entrypoints.daemon\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )

    assert {"aiohttp", "structlog"} <= set(loaded)
    assert not {"rich", "pygments", "typer", "pydantic", "fastapi", "uvicorn"} & set(loaded)


def test_what_was_kept_out_is_there_for_whoever_wants_it_later() -> None:
    text = in_a_fresh_interpreter(
        "import json\n"
        "from backstop.entrypoints.lean_start import load_libraries\n"
        "load_libraries()\n"
        "from rich.text import Text\n"
        "print(json.dumps(Text('here').plain))"
    )

    assert text == "here"


def test_a_program_that_has_loaded_rich_keeps_it() -> None:
    kept = in_a_fresh_interpreter(
        "import json, sys, rich\n"
        "from backstop.entrypoints.lean_start import load_libraries\n"
        "load_libraries()\n"
        "print(json.dumps(sys.modules['rich'] is rich))"
    )

    assert kept is True


def test_garbage_is_collected_again_once_all_is_loaded() -> None:
    before, after, kept = in_a_fresh_interpreter(
        "import gc, json\n"
        "from backstop.entrypoints.lean_start import all_is_loaded, load_libraries\n"
        "load_libraries()\n"
        "before = gc.isenabled()\n"
        "all_is_loaded()\n"
        "print(json.dumps([before, gc.isenabled(), gc.get_freeze_count() > 0]))"
    )

    assert (before, after, kept) == (False, True, True)


def test_the_watchdog_loads_nothing_that_it_does_not_need_until_it_acts() -> None:
    """It must be small, and it must be there when any of this fails."""
    loaded = in_a_fresh_interpreter(
        "import sys\n"
        "import backstop.entrypoints.main\n"
        "import backstop.entrypoints.watchdog\n"
        "loaded = sorted(sys.modules)\n"
        "import json\n"
        "print(json.dumps(loaded))"
    )
    ours = {".".join(name.split(".")[:2]) for name in loaded if name.startswith("backstop.")}
    others = {name.partition(".")[0] for name in loaded}

    assert {"backstop.core", "backstop.domain", "backstop.adapters"} <= ours
    assert not {"backstop.app", "backstop.config", "backstop.simulator"} & ours
    assert (
        not {
            *(
                "aiohttp",
                "fastapi",
                "uvicorn",
                "pydantic",
                "starlette",
                "structlog",
                "rich",
                "typer",
            ),
            *("asyncio", "ssl", "sqlite3", "cryptography", "_hashlib", "logging", "argparse"),
        }
        & others
    )
