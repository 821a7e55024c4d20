"""What is to be done about trading on the account that is not Backstop's."""

from enum import StrEnum


class ExternalPositionPolicy(StrEnum):
    """What happens to a position that Backstop did not open; entries are frozen in any case."""

    PROTECT = "protect"  # it gets the default stop, where one is set
    FLATTEN = "flatten"  # its contract is taken flat
    ALERT = "alert"  # a person is told, and nothing of it is touched
