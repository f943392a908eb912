"""The checks that are built in: no setting and no rule makes them milder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentguard.core import Action, Flow, Integrity, Label, Sensitivity, Sink

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentguard.core import Provenance

# An attribute of an enumeration takes as long as a call.
_EXTERNAL, _UNTRUSTED = Sink.EXTERNAL, Integrity.UNTRUSTED
PRIVATE_CATEGORIES = frozenset(("private", "personal", "credential", "health", "financial"))


def is_private(label: Label) -> bool:
    """Tell whether a label is that of private data: restricted or above, or of a private category."""
    return label.confidentiality.weight >= Sensitivity.RESTRICTED.weight or not PRIVATE_CATEGORIES.isdisjoint(
        label.categories
    )


def trifecta(label: Label, flow: Flow | None) -> str | None:
    """Return why an action needs at least an approval in a session of this label, or None.

    The reason is private data, untrusted content and an external sink in one session: whoever wrote the
    content could have the data sent out.
    """
    if flow is None or flow.sink is not _EXTERNAL:
        return None
    if label.integrity is not _UNTRUSTED or not is_private(label):
        return None
    return "the session has seen private data and untrusted content, and this action sends to the outside"


def can_violate(flow: Flow | None, label: Label) -> bool:
    """Tell whether an argument in a session of this label can be one that `flow_violation` names.

    No argument is stricter than its session, so where this is false nothing has to be traced.
    """
    if flow is None:
        return False
    if flow.clearance is not None and label.confidentiality.weight > flow.clearance.weight:
        return True
    return flow.sink is _EXTERNAL and label.readers is not None


def flow_violation(
    action: Action,
    provenances: Mapping[str, Provenance],
    *,
    audience: frozenset[str] | None = None,
) -> str | None:
    """Return why an argument must not go where the action sends it, or None.

    That is an argument more confidential than the sink's clearance, or one that only some may read and that
    an external sink shows to others. `audience` are the principals and domains that will see it; None means
    that nobody knows who.
    """
    flow = action.flow
    if flow is None:
        return None
    for path, provenance in provenances.items():
        label = provenance.label
        name = path or "the request"
        if flow.clearance is not None and label.confidentiality.weight > flow.clearance.weight:
            return (
                f"{name} is {label.confidentiality.value}, and {action.name} is cleared for"
                f" {flow.clearance.value}{_from(provenance)}"
            )
        if flow.sink is _EXTERNAL and label.readers is not None:
            if audience is None:
                return f"{name} may be read by few only, and nobody knows who will{_from(provenance)}"
            if not audience.issubset(label.readers):
                others = ", ".join(sorted(audience.difference(label.readers)))
                return f"{name} may not be read by {others}{_from(provenance)}"
    return None


def _from(provenance: Provenance) -> str:
    return f" (from {', '.join(provenance.sources)})" if provenance.sources else ""
