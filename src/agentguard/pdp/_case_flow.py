"""What a case says of information flow: what the session had seen, and where its arguments came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import Integrity, Label, Match, Observation, Provenance, RequestError, Sensitivity
from agentguard.flow import NOTHING_SEEN, FlowStore

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from agentguard.core import Request
    from agentguard.flow import Key
    from agentguard.pdp._pdp import PolicyDecisionPoint

_FRESH = NOTHING_SEEN[""]


class SeenValue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A value that the request's session had seen: what an `action` gave back, or with a `label` from a `source`.

    What an action gave back is labelled as the action declares it. `vouched`: the words are the user's own.
    """

    value: Any
    action: str = ""
    resource: str = ""
    source: str = ""
    label: Label | None = None
    vouched: bool = False


class StatedOrigin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where one argument came from, said outright: nothing has to be traced."""

    integrity: Integrity = Integrity.UNVERIFIED
    confidentiality: Sensitivity = Sensitivity.PUBLIC
    categories: tuple[str, ...] = ()
    readers: tuple[str, ...] | None = None
    source: str | tuple[str, ...] = ()

    def provenance(self) -> Provenance:
        """Return it as the label store would."""
        label = Label(self.integrity, self.confidentiality, self.categories, self.readers)
        sources = (self.source,) if isinstance(self.source, str) else self.source
        return Provenance(label, Match.EXACT, sources, 1.0)


class StatedFlow(FlowStore):
    """A label store in which the origins of some arguments are said outright, by JSON pointer (`stated`)."""

    def __init__(self) -> None:
        super().__init__()
        self.stated: dict[str, Provenance] = {}

    def trace(
        self, key: Key, params: dict[str, Any], action: str = "", now: float | None = None
    ) -> Mapping[str, Provenance]:
        """Return the provenance of each argument; what is said outright counts in place of what was traced."""
        traced = super().trace(key, params, action, now)
        given = {path: each for path, each in self.stated.items() if _top(path) in params}
        if not given:
            return traced
        if traced is NOTHING_SEEN:
            traced = {f"/{_escaped(name)}": _FRESH for name in params}
        kept = {
            at: each
            for at, each in traced.items()
            if not any(at == path or at.startswith(f"{path}/") or path.startswith(f"{at}/") for path in given)
        }
        return {**kept, **given}

    def label(self, key: Key) -> Label:
        """Return the label of all that the session has seen, which is where what is said outright came from."""
        label = super().label(key)
        for each in self.stated.values():
            label = label.join(each.label)
        return label


def see(point: PolicyDecisionPoint, seen: SeenValue, request: Request, moment: datetime) -> None:
    """Let the session of `request` see a value.

    Raises:
        RequestError: it is not said once where the value comes from.
    """
    session = request.context.session
    if bool(seen.source) is bool(seen.action) or (seen.action and (seen.label or seen.vouched)):
        raise RequestError(
            "a value that was seen has an `action`, or a `source` with its `label`",
            hint="write `{action: mail.read, value: ...}` or `{source: tool:mail.read, label: {...}, value: ...}`",
        )
    if seen.action:
        point.observe(
            Observation(request.principal, seen.action, seen.resource, session=session, result=seen.value)
        )
        return
    key, now = (request.principal.id, session), moment.timestamp()
    if seen.vouched:
        point.flow.vouch(key, str(seen.value), seen.source, now, seen.label)
    else:
        point.flow.observe(key, seen.value, seen.label or Label(), seen.source, now)


def stated_origins(written: Mapping[str, StatedOrigin]) -> dict[str, Provenance]:
    """Return origins by JSON pointer; a parameter may be named plainly."""
    return {
        name if name.startswith("/") else f"/{_escaped(name)}": each.provenance()
        for name, each in written.items()
    }


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _top(path: str) -> str:
    return path.split("/")[1].replace("~1", "/").replace("~0", "~")
