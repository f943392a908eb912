"""What stands between agent and world: the protocol, and the baselines.

The baselines are told which tools write and which of their arguments are targets; ours has to find out.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from benchmarks.worlds._world import leaves

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from benchmarks.worlds._world import Tool

_SHORT = 4


class Defence(Protocol):
    """Decides each call of one session at a time."""

    @property
    def reason(self) -> str:
        """Why the last call was answered so."""

    def start(self, intent: str, tools: list[dict[str, Any]], subject: dict[str, str]) -> None:
        """Begin a session: what the user asked, the tools' schemas, the user whom the session serves."""

    def check(self, tool: str, args: dict[str, Any]) -> str:
        """Return `allow`, `ask` or `deny`."""

    def observe(self, tool: str, args: dict[str, Any], result: Any, error: str | None) -> None:
        """Take in what the last call gave back."""


class _Baseline:
    """Knows the tools as the judge does, and remembers prompt and results as text."""

    def __init__(self, tools: Mapping[str, Tool]) -> None:
        self._tools = tools

    @property
    def reason(self) -> str:
        return type(self).__doc__ or ""

    def start(self, intent: str, tools: list[dict[str, Any]], subject: dict[str, str]) -> None:
        del tools, subject
        self._intent, self._seen, self._has_read = intent.casefold(), "", False

    def observe(self, tool: str, args: dict[str, Any], result: Any, error: str | None) -> None:
        del args, error
        self._has_read = self._has_read or self._tools[tool].effect == "read"
        self._seen += json.dumps(result, ensure_ascii=False).casefold()

    def _writes(self, tool: str) -> bool:
        return self._tools[tool].effect == "write"

    def _targets(self, tool: str, args: dict[str, Any]) -> Iterator[str]:
        for name in self._tools[tool].targets:
            for _, value in leaves(args.get(name)):
                if value is not None:
                    yield str(value).casefold()


class AllowAll(_Baseline):
    """Allows everything."""

    def check(self, tool: str, args: dict[str, Any]) -> str:
        del tool, args
        return "allow"


class DenyAll(_Baseline):
    """Denies every call that writes; reads are allowed."""

    def check(self, tool: str, args: dict[str, Any]) -> str:
        del args
        return "deny" if self._writes(tool) else "allow"


class Quarantine(_Baseline):
    """Denies every call that writes, once anything was read."""

    def check(self, tool: str, args: dict[str, Any]) -> str:
        del args
        return "deny" if self._writes(tool) and self._has_read else "allow"


class SubstringTaint(_Baseline):
    """Denies a call with a target that stood in a result and not in the prompt."""

    def check(self, tool: str, args: dict[str, Any]) -> str:
        tainted = (
            each
            for each in self._targets(tool, args)
            if len(each) >= _SHORT and each in self._seen and each not in self._intent
        )
        return "deny" if any(tainted) else "allow"


class WordsOnly(_Baseline):
    """Asks about a call with a target that does not stand in the prompt."""

    def check(self, tool: str, args: dict[str, Any]) -> str:
        return "allow" if all(each in self._intent for each in self._targets(tool, args)) else "ask"


BASELINES: dict[str, Callable[[Mapping[str, Tool]], Defence]] = {
    "allow all": AllowAll,
    "deny all writes": DenyAll,
    "quarantine": Quarantine,
    "substring taint": SubstringTaint,
    "user's words only": WordsOnly,
}
