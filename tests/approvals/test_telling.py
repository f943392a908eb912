from __future__ import annotations

from typing import TYPE_CHECKING

from agentguard.approvals import begin, tell_steps
from approval_scene import START, draft

if TYPE_CHECKING:
    from agentguard.core import Event


class FullBus:
    def publish(self, events: list[Event], *, droppable: bool = False) -> bool:
        del events, droppable
        return False


def test_what_the_bus_has_no_room_for_is_told_later() -> None:
    approval = begin(draft(), START)
    assert tell_steps(approval, FullBus(), None) == 0  # type: ignore[arg-type]  # of the port it uses this alone
    assert tell_steps(approval, None, None) == 1
