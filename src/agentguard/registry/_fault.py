"""What is wrong in a declaration, before it is known in which file the declaration stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentguard.core import RegistryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentguard.core import Location

    Locate = Callable[["Field"], Location | None]

Field = tuple[str | int, ...]


class Fault(Exception):  # noqa: N818 - never leaves the room: turned into a RegistryError with its file and line
    """A declaration is wrong at `field`, a path inside it."""

    def __init__(self, message: str, *field: str | int, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.hint = hint

    def located(self, locate: Locate) -> RegistryError:
        """Return the error that a person sees."""
        return RegistryError(self.message, location=locate(self.field), hint=self.hint)
