"""Which upstreams are asked, in which order: weights, and a circuit breaker for those that fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable

    from agentguard.gateway._door import Door
    from agentguard.gateway._upstream import Upstream

FAILURES = 5
OPEN_S = 10.0
_MAX_KNOWN = 1_000


class Health:
    """Remembers of each upstream whether it answers. Used on one event loop only.

    After `FAILURES` failures in a row an upstream is left out for `OPEN_S` seconds; then one call tries it.
    """

    def __init__(
        self, upstreams: Iterable[Upstream], *, clock: Callable[[], float], choose: random.Random
    ) -> None:
        self._upstreams = tuple(upstreams)
        self._clock = clock
        self._choose = choose
        self._failures = dict.fromkeys((each.name for each in self._upstreams), 0)
        self._open_until: dict[str, float] = {}
        self._known: dict[tuple[str, str], list[Upstream]] = {}

    def known(self, door: Door, model: str) -> list[Upstream]:
        """Return the upstreams that serve a model at a door, whether they answer or not."""
        asked = (door.kind, model)
        known = self._known.get(asked)
        if known is None:
            known = [
                each
                for each in self._upstreams
                if each.kind in door.kinds and (not model or each.serves(model))
            ]
            if len(self._known) >= _MAX_KNOWN:
                # Agents choose the names of models.
                self._known.clear()
            self._known[asked] = known
        return known

    def candidates(self, known: list[Upstream]) -> list[Upstream]:
        """Return those of `known` that may be asked now, the one to ask first at the front."""
        alive = [each for each in known if self._admits(each.name)]
        if len(alive) < 2:  # noqa: PLR2004 - nothing to choose between
            return alive
        # Weighted order without replacement (Efraimidis and Spirakis, 2006).
        draw = {each.name: self._choose.random() ** (1 / each.weight) for each in alive}
        return sorted(alive, key=lambda each: (each.order, -draw[each.name]))

    def succeeded(self, name: str) -> None:
        """It answered."""
        if self._failures[name]:
            self._failures[name] = 0
            self._open_until.pop(name, None)

    def failed(self, name: str) -> None:
        """It could not be reached, or answered that it is broken."""
        self._failures[name] += 1
        if self._failures[name] >= FAILURES:
            self._open_until[name] = self._clock() + OPEN_S

    def begins(self, name: str) -> None:
        """A call is about to be made: where it is a trial, the others wait for what comes of it."""
        if name in self._open_until:
            self._open_until[name] = self._clock() + OPEN_S

    def _admits(self, name: str) -> bool:
        until = self._open_until.get(name)
        return until is None or self._clock() >= until
