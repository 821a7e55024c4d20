"""Where credentials come from: a chain of sources, asked in order, each with its own deadline.

The first source that has a value answers. A source that fails is noted and the next is asked; a
credential that nobody has is reported with what each source said. A value that cannot be a
credential (a placeholder, quotes that came along) stops the search, because going on could find
the credential of another account. Values are never part of a message.
"""

import re
import threading
from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from backstop.config.secret import Secret
from backstop.errors import CredentialError, CredentialSourceError, SetupFaults

API_KEY = "TOPSTEPX_API_KEY"
USERNAME = "TOPSTEPX_USERNAME"
ACCOUNT_ID = "TOPSTEPX_ACCOUNT_ID"
JWT = "TOPSTEPX_JWT"
EMERGENCY_API_KEY = "TOPSTEPX_EMERGENCY_API_KEY"

REQUIRED = (USERNAME, ACCOUNT_ID, API_KEY)
"""What nothing works without; a JWT replaces the key."""

MAX_CREDENTIAL_LENGTH = 16_384
"""No credential is longer; a whole file pasted by mistake is."""

_PLACEHOLDER = re.compile(
    r"<.*>|\$\{.*\}|\$\(.*\)|\{\{.*\}\}|%.*%|x{3,}|\.{3,}|\*{3,}|todo|none|null|undefined"
    r"|change[-_ ]?(me|this|it).*|replace[-_ ]?(me|this|it|with).*|your[-_ ].*|placeholder.*"
    r"|(place|paste|put|insert|enter)[-_ ](your|the|api|key|here|value).*",
    re.IGNORECASE | re.DOTALL,
)


class Source(Protocol):
    """One place where credentials are kept."""

    @property
    def name(self) -> str:
        """What people call it: ``environment``, ``Azure Key Vault``."""

    @property
    def timeout_s(self) -> float | None:
        """How long one answer may take; None for a source that cannot keep us waiting."""

    def read(self, credential: str) -> str | None:
        """Return the value, or None when the source does not have it.

        Raises:
            CredentialSourceError: the source cannot answer; the words hold no secret.
        """


class MappingSource:
    """Values that are there already: the environment, a file, the command line."""

    timeout_s: float | None = None

    def __init__(self, name: str, values: Mapping[str, str]) -> None:
        self.name = name
        self._values = values

    def read(self, credential: str) -> str | None:
        """Return the value under the credential's name."""
        return self._values.get(credential)


class SourceAnswer(Struct, frozen=True, kw_only=True):
    """What one source said when it was asked, in words for people."""

    source: str
    words: str


class Inquiry(Struct, frozen=True, kw_only=True):
    """The search for one credential: the value, who had it, and what everyone said.

    ``fault`` tells why a value that was found cannot be used.
    """

    credential: str
    value: Secret | None = None
    answered_by: str | None = None
    fault: str | None = None
    answers: tuple[SourceAnswer, ...] = ()


class CredentialManager:
    """Asks its sources in order; keeps nothing, so that a rotated value is found at once."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = tuple(sources)

    def get_credential(self, name: str) -> Secret:
        """Return the credential ``name``, or raise CredentialError."""
        inquiry = self.inquire(name)
        if inquiry.value is None:
            raise _error(inquiry)
        return inquiry.value

    def try_get_credential(self, name: str) -> Secret | None:
        """Return the credential ``name``; None when no source has it.

        Raises:
            CredentialError: a source has a value that cannot be a credential.
        """
        inquiry = self.inquire(name)
        if inquiry.fault is not None:
            raise _error(inquiry)
        return inquiry.value

    def validate_required_credentials(self) -> None:
        """Check that everything needed to log in is there; raises SetupFaults with all that is not.

        A usable ``TOPSTEPX_JWT`` replaces the key.
        """
        inquiries = {name: self.inquire(name) for name in (*REQUIRED, JWT)}
        jwt = inquiries.pop(JWT)
        if jwt.value is not None and inquiries[API_KEY].fault is None:
            del inquiries[API_KEY]
        if jwt.fault is not None:
            inquiries[JWT] = jwt
        faults = tuple(_error(each) for each in inquiries.values() if each.value is None)
        if faults:
            raise SetupFaults(faults)

    def inquire(self, name: str) -> Inquiry:
        """Ask for ``name`` and tell what every source said, up to the one that had it."""
        answers: list[SourceAnswer] = []
        for source in self._sources:
            try:
                value = _read(source, name)
            except CredentialSourceError as error:
                answers.append(SourceAnswer(source=source.name, words=str(error)))
                continue
            if value is None or not value.strip():
                words = "not set" if value is None else "set, but blank"
                answers.append(SourceAnswer(source=source.name, words=words))
                continue
            fault = credential_fault(value)
            answers.append(SourceAnswer(source=source.name, words=fault or "has it"))
            return Inquiry(
                credential=name,
                value=None if fault else Secret(value),
                answered_by=source.name,
                fault=fault,
                answers=tuple(answers),
            )
        return Inquiry(credential=name, answers=tuple(answers))


def credential_fault(value: str) -> str | None:
    """Tell why ``value`` cannot be a credential, without repeating it; None when it can."""
    if not value.strip():
        return "is blank"
    if value != value.strip():
        return "has white space at its beginning or end"
    if value[0] == value[-1] and value[0] in "'\"`":
        return "has quotation marks around it that are part of the value"
    if any(not character.isprintable() for character in value):
        return "has a line break or another control character in it"
    if len(value) > MAX_CREDENTIAL_LENGTH:
        return f"is longer than {MAX_CREDENTIAL_LENGTH} characters"
    if _PLACEHOLDER.fullmatch(value):
        return "is a placeholder, not a value"
    return None


def _read(source: Source, name: str) -> str | None:
    """Ask one source within its own deadline; whatever it fails with becomes its named error."""
    if source.timeout_s is None:
        return source.read(name)
    answer: list[str | None] = []
    errors: list[Exception] = []

    def ask() -> None:
        try:
            answer.append(source.read(name))
        except Exception as error:  # noqa: BLE001 - handed to the asking thread just below
            errors.append(error)

    # A daemon: a library that hangs for ever must not keep the process from ending.
    asking = threading.Thread(target=ask, name=f"credentials: {source.name}", daemon=True)
    asking.start()
    asking.join(source.timeout_s)
    if answer:
        return answer[0]
    if not errors:
        raise CredentialSourceError(f"no answer within {source.timeout_s:g} s")
    if isinstance(errors[0], CredentialSourceError):
        raise errors[0]
    # A library's own words may hold what it was asked with: only the kind of the error is told.
    raise CredentialSourceError(f"failed with {type(errors[0]).__name__}")


def _error(inquiry: Inquiry) -> CredentialError:
    asked = "; ".join(f"{answer.source}: {answer.words}" for answer in inquiry.answers)
    if inquiry.fault is not None:
        return CredentialError(
            inquiry.credential,
            f"the value from {inquiry.answered_by} {inquiry.fault}",
            "Put the value itself there.",
        )
    return CredentialError(
        inquiry.credential,
        f"no source has it ({asked})" if asked else "no source is configured",
        f"Set it in the environment or in .env.local: {inquiry.credential}=...",
    )
