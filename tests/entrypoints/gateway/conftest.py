"""One simulated venue and one guard with its gateway for the tests of a file."""

from tests.app.conftest import desk, runtime_folder, venue

__all__ = ["desk", "runtime_folder", "venue"]
