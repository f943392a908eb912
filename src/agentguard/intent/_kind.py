"""The kinds of origins under a name that is quick to look up: an attribute of an enumeration takes as long as a call."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from agentguard.core import OriginKind

if TYPE_CHECKING:
    K = OriginKind
else:
    K = SimpleNamespace(**OriginKind.__members__)
