"""What happened, line by line in virtual time, and a digest of all of it.

The digest is that of the story, not of memory: equal on every run, every computer and every
version of Python that runs the same code.
"""

import hashlib
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

LINES_KEPT: Final = 400
"""The newest lines of a seed, for whoever asks why it failed; a trace shows all of them."""

DIGEST_CHARS: Final = 16


class Story:
    """The story of one seed.

    Attributes:
        newest: the newest lines.
        counts: how often each kind of thing happened.
    """

    def __init__(
        self, now_s: Callable[[], float], *, hidden: str, show: Callable[[str], None] | None
    ) -> None:
        """Begin.

        Args:
            now_s: virtual seconds since the beginning.
            hidden: a text that differs from run to run, the temporary folder: never told.
            show: takes every line at once.
        """
        self.newest: deque[str] = deque(maxlen=LINES_KEPT)
        self.counts: Counter[str] = Counter()
        self._now_s = now_s
        self._hidden = hidden
        self._show = show
        self._hash = hashlib.sha256()

    def tell(self, who: str, what: str, **details: object) -> None:
        """Add one line."""
        self.counts[f"{who} {what}"] += 1
        told = " ".join(f"{name}={value}" for name, value in details.items())
        line = f"{self._now_s():12.6f} {who:<8} {what} {told}".rstrip()
        if self._hidden in line:
            line = line.replace(self._hidden, "STATE")
        self._hash.update(line.encode())
        self._hash.update(b"\n")
        self.newest.append(line)
        if self._show is not None:
            self._show(line)

    def digest(self) -> str:
        """Return the digest of everything told so far."""
        return self._hash.hexdigest()[:DIGEST_CHARS]
