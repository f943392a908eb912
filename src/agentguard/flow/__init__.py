"""Information flow: what each session has seen, and where the arguments of a request came from.

Enters: observed values with their labels and sources, and the parameters of requests. Leaves: a `Provenance`
for each argument, the label of a session, and the verdicts of the built-in checks. Called by: the PDP, which
owns the store. It never keeps a text, and what it cannot tell is never judged milder than the whole session.
"""

from agentguard.flow._checks import PRIVATE_CATEGORIES, can_violate, flow_violation, is_private, trifecta
from agentguard.flow._packed import LabelTable, dominates
from agentguard.flow._regrade import Regraded
from agentguard.flow._state import load, restore, save, snapshot
from agentguard.flow._store import NOTHING_SEEN, FlowStore, Key

__all__ = [
    "NOTHING_SEEN",
    "PRIVATE_CATEGORIES",
    "FlowStore",
    "Key",
    "LabelTable",
    "Regraded",
    "can_violate",
    "dominates",
    "flow_violation",
    "is_private",
    "load",
    "may_violate",
    "restore",
    "save",
    "snapshot",
    "trifecta",
]
