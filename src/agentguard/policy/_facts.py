"""What a rule can look at when it is asked whether it applies."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from agentguard.core import NO_FACTS, Action, ArgumentFacts, Context, Principal, Resource


class Facts(msgspec.Struct):
    """One request with its names resolved; `now` is aware and UTC; `facts` are about arguments."""

    principal: Principal
    action: Action
    resource: Resource
    params: dict[str, Any]
    context: Context
    now: datetime
    facts: ArgumentFacts = NO_FACTS
