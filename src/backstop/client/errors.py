"""What a guard answers when it does not do what was asked, and what is known when it is silent."""

from decimal import Decimal

from msgspec import Struct

from backstop.errors import BackstopError


class Denial(Struct, frozen=True, kw_only=True):
    """One refusal: the rule, a sentence, and its numbers as text.

    ``max_quantity`` is the largest quantity of the same order that would pass this rule.
    """

    code: str
    message: str
    limit: str | None = None
    value: str | None = None
    max_quantity: int | None = None


class GuardCallError(BackstopError):
    """A guard's no, in its own words.

    Attributes:
        status: of the HTTP answer.
        code: the word that programs rely on.
        field: the member of the request that it is about, where there is one.
    """

    def __init__(self, status: int, code: str, message: str, field: str | None = None) -> None:
        self.status = status
        self.code = code
        self.field = field
        super().__init__(f"{code}: {message}")


class DeniedError(GuardCallError):
    """The guard's rules refused it; nothing was sent. ``denials`` say which, in their order."""

    def __init__(self, status: int, denials: tuple[Denial, ...]) -> None:
        self.denials = denials
        first = denials[0].code if denials else "DENIED"
        super().__init__(status, first, "; ".join(it.message for it in denials))

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of all refusals."""
        return tuple(it.code for it in self.denials)


class GuardSilentError(BackstopError):
    """No guard answered in time.

    Attributes:
        may_be_done: the request may have arrived: whether it was carried out is not known. False:
            there never was a connection, so nothing was asked of any guard.
        waited_s: how long was waited in all.
        client_order_id: the order it was about, if it was one: ask for it by this name.
    """

    def __init__(
        self,
        url: str,
        why: str,
        *,
        waited_s: Decimal,
        may_be_done: bool,
        client_order_id: str | None = None,
    ) -> None:
        self.may_be_done = may_be_done
        self.waited_s = waited_s
        self.client_order_id = client_order_id
        if not may_be_done:
            about = "Nothing was sent: there is no connection to it."
        elif client_order_id is None:
            about = "What was asked may have been done."
        else:
            about = (
                f"Order {client_order_id} may be live: submit it again under the same name or "
                "look it up, never send it under another name."
            )
        super().__init__(f"The guard at {url} did not answer within {waited_s} s ({why}). {about}")
