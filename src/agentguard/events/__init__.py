"""What happened, from any layer: handed on within the process, and into a store.

Enters: `Event`s of the kernel layer and other sources. Leaves: the same events, to subscribers and to an
`EventStore`. Called by: whoever sees something happen, and assembly. It decides nothing and never delays who
reports: what finds no room is refused or counted, and a count of what was dropped is an event itself. `Truth` holds
what was done against what was decided.
"""

from agentguard.events._bus import InProcessBus
from agentguard.events._follower import TruthFollower
from agentguard.events._ids import event_ids
from agentguard.events._recorder import EventRecorder, Retention
from agentguard.events._truth import Truth

__all__ = ["EventRecorder", "InProcessBus", "Retention", "Truth", "TruthFollower", "event_ids"]
