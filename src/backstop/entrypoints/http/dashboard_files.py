"""The files of the dashboard as they travel: read once, with their digest, also compressed.

They hold no data of the guard: everything that the page shows it asks of the interface, with the
token.
"""

import gzip
import hashlib
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

FOLDER = Path(__file__).with_name("dashboard")
PAGE = "index.html"
PREFIX = "/dashboard/"

MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
"""What is served, and as what; a file of any other kind stays in its folder."""

COMPRESSION_LEVEL = 9


class DashboardFile(Struct, frozen=True, kw_only=True):
    """One file. ``etag`` holds its digest: while that stays a browser keeps what it has.

    It is a weak one, because the compressed bytes go by the same name.
    """

    media_type: str
    etag: str
    content: bytes
    compressed: bytes


def dashboard_files(folder: Path = FOLDER) -> Mapping[str, DashboardFile]:
    """Return every file of the page by the path at which it is served."""
    return {
        _served_at(path.relative_to(folder).as_posix()): _read(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in MEDIA_TYPES
    }


def _served_at(name: str) -> str:
    return "/" if name == PAGE else PREFIX + name


def _read(path: Path) -> DashboardFile:
    content = path.read_bytes()
    return DashboardFile(
        media_type=MEDIA_TYPES[path.suffix],
        etag=f'W/"{hashlib.sha256(content).hexdigest()[:32]}"',
        content=content,
        # Without a time in it, so that the same file is the same bytes in every process.
        compressed=gzip.compress(content, COMPRESSION_LEVEL, mtime=0),
    )
