"""Provenance that is worked out when somebody looks at it: tracing a long text costs more than a decision."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from agentguard.core import Provenance


class TracedLater(Mapping[str, Provenance]):
    """The provenance of a request's arguments by JSON pointer; `trace` is asked for it once, if at all."""

    __slots__ = ("_found", "_trace")

    def __init__(self, trace: Callable[[], Mapping[str, Provenance]]) -> None:
        self._trace = trace
        self._found: Mapping[str, Provenance] | None = None

    def _known(self) -> Mapping[str, Provenance]:
        found = self._found
        if found is None:
            found = self._found = self._trace()
        return found

    def __getitem__(self, pointer: str) -> Provenance:
        return self._known()[pointer]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known())

    def __len__(self) -> int:
        return len(self._known())
