"""Looks for planted secrets in everything that a run leaves behind or shows."""

import base64
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote


def forms(canary: str) -> Iterator[bytes]:
    """Yield how a secret may be written down: as it is, for JSON, for URLs, encoded."""
    raw = canary.encode()
    yield raw
    yield json.dumps(canary)[1:-1].encode()
    yield quote(canary, safe="").encode()
    yield raw.hex().encode()
    yield canary.encode("utf-16-le")
    # Base64 of a longer text depends on what stands before: each of the three shifts is cut to the
    # letters that only the secret decides.
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + raw)
        yield coded[4 if shift else 0 : -4]


def found_in(places: Iterable[tuple[str, bytes]], canaries: Mapping[str, str]) -> list[str]:
    """Return ``canary in place`` for every secret that stands somewhere."""
    spelled = {name: tuple(forms(canary)) for name, canary in canaries.items()}
    return [
        f"{name} in {place}"
        for place, content in places
        for name, spellings in spelled.items()
        if any(spelling in content for spelling in spellings)
    ]


def files(folder: Path, *, planted: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every file, but those into which the secrets were planted.

    A name is content too.
    """
    left_out = set(planted)
    for path in sorted(folder.rglob("*")):
        yield f"the name {path.name!r}", path.name.encode()
        if path.is_file() and not any(path == it or it in path.parents for it in left_out):
            with suppress(OSError):
                yield str(path.relative_to(folder)), path.read_bytes()


def listings(group: int) -> Iterator[tuple[str, bytes]]:
    """Yield the command lines of a process group, and what its couriers have as environment."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.getpgid(int(folder.name)) != group:
                continue
            line = (folder / "cmdline").read_bytes()
            yield f"the command line {line!r}", line
            if b"courier" in line:
                yield "the environment of the courier", (folder / "environ").read_bytes()
