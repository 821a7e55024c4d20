"""What may stand after ``backstop run``."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from backstop.config.settings_reader import NAMES
from backstop.config.settings_table import SETTINGS
from backstop.errors import SettingError, SetupError


def run(arguments: Sequence[str]) -> int:
    """Show the help of ``backstop run``; ``arguments`` begin with ``run``."""
    run_overrides(arguments[1:])
    return 0


def run_verb() -> None:
    """Guard the account: connect, protect, serve the API."""
    sys.exit(import_module("backstop.entrypoints.watchdog").run(["watchdog", "--"]))


def run_overrides(arguments: Sequence[str]) -> dict[str, str]:
    """Return the settings of the command line; secrets are no part of it, everybody can read it.

    Ends the process where the words ask for help or make no sense.

    Raises:
        SetupError: an assignment that cannot be used.
    """
    parser = argparse.ArgumentParser(
        prog="backstop run",
        description="Guard the account: connect, protect, serve the API, with a watchdog beside. "
        "Settings come from the environment and from .env.local in the current folder.",
    )
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a setting for this run, such as DRY_RUN=1; beats the environment",
    )
    parser.add_argument(
        "--gateway",
        metavar="HOST:PORT",
        help="serve the ProjectX API to bots there, such as 127.0.0.1:8721; the same as "
        "--set BACKSTOP_GATEWAY=HOST:PORT",
    )
    given = parser.parse_args(list(arguments))
    overrides = _overrides(given.set)
    return overrides if given.gateway is None else overrides | {"BACKSTOP_GATEWAY": given.gateway}


def _overrides(assignments: Sequence[str]) -> dict[str, str]:
    secret = {setting.name for setting in SETTINGS if setting.kind.secret}
    overrides: dict[str, str] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise SetupError(f"--set {name}: write --set NAME=VALUE.")
        if name not in NAMES:
            raise SettingError(name, "is no setting", "a name of the settings reference")
        if name in secret:
            raise SettingError(
                name, "a secret on the command line can be read by others", "the environment"
            )
        overrides[name] = value
    return overrides
