"""Names the code that a seed of the storm is run with."""

from functools import cache
from hashlib import sha256
from pathlib import Path

from backstop.storm import mutations, regressions

REPO = Path(__file__).parents[1]


@cache
def code_digest() -> str:
    """Return a name for the code that runs here: every source that can change what comes of a seed.

    What was found before is written in one that cannot, and planted bugs in another.
    """
    left_out = {Path(regressions.__file__), Path(mutations.__file__)}
    digest = sha256()
    for path in sorted(set((REPO / "src").rglob("*.py")) - left_out):
        digest.update(str(path.relative_to(REPO)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
