"""Names of files that could not be used and are kept for people: ``NAME-000001.bad`` and on.

Only what has a name of this form is ours to count and to delete; a copy that a person laid beside
it under a name of his own is left alone.
"""

import re
from pathlib import Path


def kept_aside(folder: Path, stem: str) -> list[Path]:
    """Return the files of ``folder`` that are kept aside for ``stem``, oldest first."""
    numbered = _numbered(folder, stem)
    return [numbered[number] for number in sorted(numbered)]


def next_kept_name(folder: Path, stem: str) -> Path:
    """Return the name for the next one; its number is above all that are there."""
    return folder / f"{stem}-{max(_numbered(folder, stem), default=0) + 1:06}.bad"


def _numbered(folder: Path, stem: str) -> dict[int, Path]:
    form = re.compile(re.escape(stem) + r"-([0-9]{6,})\.bad")
    if not folder.is_dir():
        return {}
    matches = ((form.fullmatch(path.name), path) for path in folder.iterdir())
    return {int(match[1]): path for match, path in matches if match is not None}
