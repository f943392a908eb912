"""Requests: who wants to do what, on what, with which parameters, under which circumstances."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from agentguard.core.principal import Principal

Scalar = str | int | float | bool | None


class Context(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Circumstances of a request.

    `time` is aware and UTC; left out, the decision point's clock counts. `attributes` are free facts that
    the enforcement point vouches for; rules read them by name, as `context: {change_window: true}`. `ticket` is
    that of a change, as rules ask for it, and no execution ticket. `reason` is why the principal asks, in its words.
    """

    session: str = ""
    correlation_id: str = ""
    time: datetime | None = None
    task: str = ""
    ticket: str = ""
    provenance: dict[str, str] = {}
    attributes: dict[str, Scalar] = {}
    reason: str = ""


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One wish to act. `action` is `name` (the newest version) or `name@version`; `params` is hostile.

    `ticket_for` names the executor that an execution ticket is wanted for; empty asks for none. `approval` is the id
    of an approval that was asked for earlier, for the same request, and is to be used up now. `observed` says that
    it was seen happening, and was not asked for: it is decided as the next request would be, and counts for none.
    """

    principal: Principal
    action: str
    resource: str
    params: dict[str, Any] = {}
    context: Context = Context()
    ticket_for: str = ""
    approval: str = ""
    observed: bool = False
