"""Where credentials come from: a chain of sources, asked in order, each with its own deadline.

The first source that has a value answers. A source that fails is noted and the next is asked; a
credential that nobody has is reported with what each source said. A value that cannot be a
credential (a placeholder, quotes that came along) stops the search, because going on could find
the credential of another account. Values are never part of a message.
"""

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, Self, TypeVar, runtime_checkable

from msgspec import Struct

from backstop.config.secret import HoldsSecrets, Secret
from backstop.domain.credential import CredentialFacts
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

_Answer = TypeVar("_Answer")

ANSWER_LIMIT_S = 8.0
"""No source may take longer, whatever it asks for: all of them together have to fit into the 60 s
that the watchdog gives a start."""

FAILURE_RESTS_S = 30.0
"""A source that could not answer is not asked again for this long: a start asks for five names."""

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


@runtime_checkable
class TellingSource(Protocol):
    """A source that also knows where exactly a value stands, and how old it is."""

    def facts(self, credential: str) -> CredentialFacts:
        """Return what is known of the value that was read last; asks nobody."""


class MappingSource:
    """Values that are there already: the environment, the command line."""

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


NOTHING_KNOWN = CredentialFacts()


class Inquiry(Struct, frozen=True, kw_only=True):
    """The search for one credential: the value, who had it, and what everyone said.

    ``fault`` tells why a value that was found cannot be used.
    """

    credential: str
    value: Secret | None = None
    answered_by: str | None = None
    facts: CredentialFacts = NOTHING_KNOWN
    fault: str | None = None
    answers: tuple[SourceAnswer, ...] = ()

    @property
    def place(self) -> str:
        """Where the value stands, as exactly as is known; empty: nowhere."""
        return self.facts.place or self.answered_by or ""


class CredentialManager(HoldsSecrets):
    """Asks its sources in order; keeps no value, so that a rotated one is found at once.

    Kept is only who could not answer: that is not asked again for ``FAILURE_RESTS_S``, nor while an
    earlier question to it is still open. Calls may come from any thread; one is served at a time.

    Args:
        sources: in the order in which they are asked.
        now_s: monotonic seconds.
    """

    def __init__(
        self, sources: Sequence[Source], *, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._asked = tuple(_AskedSource(source, now_s) for source in sources)
        self._turn = threading.Lock()

    @classmethod
    def from_env(cls) -> Self:
        """Return a manager of the sources that the environment and ``.env.local`` configure.

        Raises:
            SetupFaults: the settings of a source are unusable.
            SetupError: the file cannot be read.
        """
        from backstop.config.settings import (  # noqa: PLC0415 - it reads through us
            configured_sources,
        )

        return cls(configured_sources().sources)

    @property
    def sources(self) -> tuple[Source, ...]:
        """Who is asked, in order."""
        return tuple(asked.source for asked in self._asked)

    @property
    def local(self) -> "CredentialManager":
        """A manager of those sources alone that keep nobody waiting."""
        return CredentialManager([it for it in self.sources if it.timeout_s is None])

    def get_credential(self, name: str, *, default: str | None = None) -> Secret:
        """Return the credential ``name``; ``default`` when no source has it.

        Raises:
            CredentialError: no source has it and there is no default, or a source has a value that
                cannot be a credential; names each source asked and its reason.
        """
        inquiry = self.inquire(name)
        if inquiry.value is not None:
            return inquiry.value
        if default is not None and inquiry.fault is None:
            return Secret(default)
        raise _error(inquiry)

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
        with self._turn:
            return self._inquire(name)

    def _inquire(self, name: str) -> Inquiry:
        answers: list[SourceAnswer] = []
        for asked in self._asked:
            source = asked.source
            try:
                value = asked.read(name)
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
                facts=_facts(source, name),
                fault=fault,
                answers=tuple(answers),
            )
        return Inquiry(credential=name, answers=tuple(answers))


class _AskedSource:
    """One source, its deadline, and the memory of its last failure."""

    def __init__(self, source: Source, now_s: Callable[[], float]) -> None:
        self.source = source
        self._now_s = now_s
        self._rests_until_s = 0.0
        self._failure = ""
        self._asking: threading.Thread | None = None

    def read(self, name: str) -> str | None:
        """Ask within the deadline; whatever the source fails with becomes its named error."""
        if self.source.timeout_s is None:
            return _named(lambda: self.source.read(name))
        if self._failure and self._now_s() < self._rests_until_s:
            raise CredentialSourceError(self._failure)
        self._failure = ""
        try:
            return self._in_time(name, min(self.source.timeout_s, ANSWER_LIMIT_S))
        except CredentialSourceError as error:
            if not error.one_secret:
                self._failure = str(error)
                self._rests_until_s = self._now_s() + FAILURE_RESTS_S
            raise

    def _in_time(self, name: str, timeout_s: float) -> str | None:
        if self._asking is not None and self._asking.is_alive():
            # One thread for each source is the limit of what a hanging library may hold.
            raise CredentialSourceError("still no answer to an earlier question")
        answer: list[str | None] = []
        errors: list[CredentialSourceError] = []

        def ask() -> None:
            try:
                answer.append(_named(lambda: self.source.read(name)))
            except CredentialSourceError as error:
                errors.append(error)

        # A daemon: a library that hangs for ever must not keep the process from ending.
        self._asking = threading.Thread(
            target=ask, name=f"credentials: {self.source.name}", daemon=True
        )
        self._asking.start()
        self._asking.join(timeout_s)
        if answer:
            return answer[0]
        if not errors:
            raise CredentialSourceError(f"no answer within {timeout_s:g} s")
        raise errors[0]


def _named(ask: Callable[[], _Answer]) -> _Answer:
    """Return what a source answers; whatever it fails with becomes its named error."""
    try:
        return ask()
    except CredentialSourceError:
        raise
    except Exception as error:
        # A library's words may hold what it was asked with: only the kind of the error is told.
        raise CredentialSourceError(f"failed with {type(error).__name__}") from error


def _facts(source: Source, name: str) -> CredentialFacts:
    """Return what ``source`` knows of a value; that it fails at this changes nothing about it."""
    if not isinstance(source, TellingSource):
        return NOTHING_KNOWN
    try:
        return _named(lambda: source.facts(name))
    except CredentialSourceError:
        return NOTHING_KNOWN


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


def _error(inquiry: Inquiry) -> CredentialError:
    asked = "; ".join(f"{answer.source}: {answer.words}" for answer in inquiry.answers)
    if inquiry.fault is not None:
        return CredentialError(
            inquiry.credential,
            f"the value from {inquiry.place} {inquiry.fault}",
            "Put the value itself there.",
        )
    return CredentialError(
        inquiry.credential,
        f"no source has it ({asked})" if asked else "no source is configured",
        f"Set it in the environment or in .env.local: {inquiry.credential}=...",
    )
