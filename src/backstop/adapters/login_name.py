"""The name of the person at this computer, as far as the system knows one."""

import getpass

NOBODY_KNOWN = "unknown"
"""What stands in the record where the system has no name for the user."""


def login_name() -> str:
    """Return the login name; ``unknown`` where the system has none.

    So it is for a user by number alone, as containers have them: the system's own call fails there,
    with another error on each platform and version, and no act may wait for a name.
    """
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):
        return NOBODY_KNOWN
