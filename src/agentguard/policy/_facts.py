"""What a rule can look at when it is asked whether it applies."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from agentguard.core import (
    NO_FACTS,
    Action,
    ArgumentFacts,
    CallOrigins,
    Context,
    Principal,
    Provenance,
    Resource,
)


class Facts(msgspec.Struct):
    """One request with its names resolved; `now` is aware and UTC.

    `facts` are about what is inside arguments. `provenance` says by JSON pointer where the arguments came
    from, under `""` for all that are not named; None where nobody knows. `origins` is what a session with an intent
    knows of the call; None elsewhere.
    """

    principal: Principal
    action: Action
    resource: Resource
    params: dict[str, Any]
    context: Context
    now: datetime
    facts: ArgumentFacts = NO_FACTS
    provenance: Mapping[str, Provenance] | None = None
    origins: CallOrigins | None = None
