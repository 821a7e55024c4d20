"""Prints what importing each runtime dependency costs: alone, in a fresh interpreter, fastest of 9.

The figures of docs/explanation/stack.md come from here. They vary with the machine; read them as
proportions.
"""

import subprocess
import sys
import tomllib
from pathlib import Path

RUNS = 9
PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
MODULES = {
    "cryptography": "cryptography.hazmat.primitives.asymmetric.ed25519",
    "rich": "rich.live",
    "the guard": "backstop.entrypoints.daemon",
    "the HTTP interface after it": "backstop.entrypoints.http.server",
}
"""What is really imported, where it is not the distribution's name."""

PROBE = """
import importlib, sys, time
for name in sys.argv[2:]:
    importlib.import_module(name)
started = time.perf_counter()
importlib.import_module(sys.argv[1])
print((time.perf_counter() - started) * 1000)
"""


def main() -> None:
    """Print one line for each dependency, and for the guard and its interface."""
    with PYPROJECT.open("rb") as file:
        requirements = tomllib.load(file)["project"]["dependencies"]
    for requirement in requirements:
        name = requirement.partition(">")[0].replace("-", "_")
        print(f"{name:30} {cost_ms(MODULES.get(name, name)):7.0f} ms")
    guard, interface = MODULES["the guard"], MODULES["the HTTP interface after it"]
    print(f"{'the guard':30} {cost_ms(guard):7.0f} ms")
    print(f"{'the HTTP interface after it':30} {cost_ms(interface, guard):7.0f} ms")


def cost_ms(module: str, *before: str, runs: int = RUNS) -> float:
    """Return milliseconds to import ``module`` once ``before`` are there; fastest of ``runs``."""
    return min(
        float(
            subprocess.run(  # noqa: S603 - our own interpreter and words
                [sys.executable, "-c", PROBE, module, *before],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for _ in range(runs)
    )


if __name__ == "__main__":
    main()
