"""What a rule can look at when it is asked whether it applies."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from agentguard.core import Action, Context, Principal, Resource


class Facts(msgspec.Struct):
    """One request with its names resolved; `now` is aware and UTC."""

    principal: Principal
    action: Action
    resource: Resource
    params: dict[str, Any]
    context: Context
    now: datetime
