"""What is not well, by component: told once when it begins, and once when it is over."""

from collections.abc import Callable

from backstop.core.step import Note, Tag
from backstop.domain.commands import Severity


class ComponentHealth:
    """The faults that the guard's parts report of themselves."""

    def __init__(self, on_note: Callable[[Note], None]) -> None:
        """Tell each change to ``on_note``."""
        self._on_note = on_note
        self._faults: dict[str, str] = {}

    @property
    def faults(self) -> dict[str, str]:
        """The present faults by component; empty when everything is well."""
        return dict(self._faults)

    def begin_anew(self) -> None:
        """Forget what was not well: of a guard that starts, nothing is known yet."""
        self._faults.clear()

    def reporter(self, component: str) -> Callable[[str], None]:
        """Return what a component tells its fault to; an empty text says it is well again."""

        def report(what: str) -> None:
            if self._faults.get(component, "") == what:
                return
            if what:
                self._faults[component] = what
            else:
                del self._faults[component]
            self.say(component, what)

        return report

    def guard_failed(self, what: str) -> None:
        """Say that the guard itself has failed: it stays failed until it is started anew."""
        self._faults["guard"] = what
        self._on_note(
            Note(
                tag=Tag.CRITICAL,
                name="guard_failed",
                fields={"message": what},
                severity=Severity.CRITICAL,
            )
        )

    def say(self, component: str, what: str) -> None:
        """Write down a change of a fault that its component keeps itself."""
        self._on_note(
            Note(
                tag=Tag.CRITICAL_SYSTEM,
                name="component_fault" if what else "component_well",
                severity=Severity.WARNING if what else Severity.INFO,
                fields={"part": component, "message": what},
            )
        )
