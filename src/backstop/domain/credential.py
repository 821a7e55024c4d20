"""What may be known of a credential besides its value."""

from datetime import datetime

from msgspec import Struct


class CredentialFacts(Struct, frozen=True, kw_only=True):
    """Where a value stands and how old it is; never the value.

    Attributes:
        place: where exactly, for people: a file and its line, a secret and its vault.
        changed: when it was written last, UTC; None where the source does not say.
        expires: when it stops to be good, UTC; None where the source does not say.
    """

    place: str = ""
    changed: datetime | None = None
    expires: datetime | None = None
