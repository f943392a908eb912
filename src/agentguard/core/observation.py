"""Observations: what an agent has seen, so that the decision point knows where later arguments come from."""

from __future__ import annotations

from typing import Any

import msgspec

from agentguard.core.principal import Principal


class Observation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an action gave back: `result` is JSON and hostile; `error` is its error's text, as the agent sees it.

    `action` names what was done (`name` or `name@version`), `resource` what it was done to, and `session` in
    which session of the principal. Neither text is kept: only fingerprints and labels are. `params` are the parameters of
    the call, where a session with an intent is to know what it was about.
    """

    principal: Principal
    action: str
    resource: str = ""
    session: str = ""
    result: Any = None
    error: str = ""
    params: dict[str, Any] | None = None
