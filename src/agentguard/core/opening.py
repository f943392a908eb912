"""Opening a session with the user's words: from then on calls are decided by where their targets come from."""

from __future__ import annotations

from typing import Any

import msgspec

from agentguard.core.principal import Principal


class SessionOpening(msgspec.Struct, frozen=True):
    """What a session is opened with. `by` vouches for it: None is the host program.

    `intent` are the user's words, `tools` the schemas of the tools as their framework writes them, `subject` names
    of the user (ids, addresses); `session` is its id, or empty for a fresh one.
    """

    principal: Principal
    intent: str
    tools: Any
    session: str = ""
    subject: tuple[str, ...] = ()
    by: Principal | None = None


class OpenedSession(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A session that was opened: `actions` has by each tool's name what it is called in rules.

    `tools` is the digest of the tools, `policy_version` that of the rules that are in force in the session.
    """

    session: str
    principal: str
    actions: dict[str, str]
    tools: str
    policy_version: str
