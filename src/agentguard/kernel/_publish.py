"""What of a run is worth keeping, as events on the bus: each new thing once, each attempt, each program."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import Effect, EventBus, EventKind
from agentguard.kernel._events import clock_offset_ns, event_of

if TYPE_CHECKING:
    from agentguard.kernel._judge import Verdict
    from agentguard.kernel._requests import Wish
    from agentguard.kernel._seen import Seen
    from agentguard.kernel._tree import ProcessTree

MAX_KNOWN = 100_000
# A store that takes nothing holds up the account so long at most, all in all; the program is not held up by it.
_PATIENCE_S = 5.0
_STEP_S = 0.01
_AGAIN_NS = 250_000_000


class Publisher:
    """Publishes what one run does. For one thread.

    The same thing done again by the same program at once is told once. A file that the policy allows is told once in a
    run: what else is done again later may then be something that nobody asked for any more. Files may be dropped where
    there are too many; programs, connections and attempts wait for room, and `lost` counts those for which there was
    none.
    """

    def __init__(self, bus: EventBus, *, principal: str, run: str) -> None:
        self.lost = 0
        self._bus, self._principal, self._run = bus, principal, run
        self._offset_ns = clock_offset_ns()
        self._known: dict[tuple[str, str, str, str], int] = {}
        self._patience_s = _PATIENCE_S

    def note(self, seen: Seen, tree: ProcessTree, wish: Wish, verdict: Verdict | None) -> None:
        """Tell of a thing that was done, with what the policy says of it."""
        effect = verdict.effect.value if verdict is not None else ""
        key = (wish.action, wish.resource, effect, tree.of(seen).program)
        told = self._known.get(key)
        if told is not None and (seen.time_ns < told + _AGAIN_NS or _is_allowed_file(wish, verdict)):
            return
        if told is not None or len(self._known) < MAX_KNOWN:
            self._known[key] = seen.time_ns
        self._publish(seen, tree, _said(wish, verdict))

    def note_attempt(self, seen: Seen, tree: ProcessTree, wish: Wish, verdict: Verdict | None) -> None:
        """Tell of an attempt at what ordinary agents have no need of, each time."""
        self._publish(seen, tree, _said(wish, verdict))

    def _publish(self, seen: Seen, tree: ProcessTree, more: dict[str, str]) -> None:
        event = event_of(seen, tree, principal=self._principal, run=self._run, offset_ns=self._offset_ns)
        said = {name: value for name, value in more.items() if value}
        # One thing that was seen can be two actions, as a rename is.
        suffix = f"-{said['action']}" if said else ""
        event = msgspec.structs.replace(
            event, event_id=event.event_id + suffix, payload={**said, **event.payload}
        )
        if self._bus.publish([event], droppable=event.kind is EventKind.FILE):
            return
        while self._patience_s > 0:
            time.sleep(_STEP_S)
            self._patience_s -= _STEP_S
            if self._bus.publish([event]):
                return
        self.lost += 1


def _said(wish: Wish, verdict: Verdict | None) -> dict[str, str]:
    said = {"action": wish.action, "resource": wish.resource}
    if verdict is not None:
        said |= {"effect": verdict.effect.value, "reason": verdict.reason, "rule": verdict.rule}
    return said


def _is_allowed_file(wish: Wish, verdict: Verdict | None) -> bool:
    return wish.action.startswith("file.") and (verdict is None or verdict.effect is Effect.ALLOW)
