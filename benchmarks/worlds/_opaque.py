"""The same tools under names that say nothing: what a defence knows from names alone is lost, all else stays."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.worlds._defences import Defence


class Opaque:
    """Stands before a defence, calls tools `t1`, `t2` … and arguments `a1`, `a2` …; `is_mute` drops descriptions too."""

    def __init__(self, inner: Defence, *, is_mute: bool = False) -> None:
        self._inner, self._is_mute = inner, is_mute
        self._tools: dict[str, str] = {}
        self._args: dict[str, dict[str, str]] = {}

    @property
    def reason(self) -> str:
        """Why the last call was answered so."""
        return self._inner.reason

    def start(self, intent: str, tools: list[dict[str, Any]], subject: dict[str, str]) -> None:
        """Begin a session under other names."""
        self._inner.start(
            intent, [self._renamed(number, each) for number, each in enumerate(tools, 1)], subject
        )

    def check(self, tool: str, args: dict[str, Any]) -> str:
        """Ask under other names."""
        return self._inner.check(self._tools[tool], self._under(tool, args))

    def observe(self, tool: str, args: dict[str, Any], result: Any, error: str | None) -> None:
        """Report under other names."""
        self._inner.observe(self._tools[tool], self._under(tool, args), result, error)

    def _renamed(self, number: int, definition: dict[str, Any]) -> dict[str, Any]:
        renamed = copy.deepcopy(definition)
        inner = renamed["function"]
        name, inner["name"] = inner["name"], f"t{number}"
        self._tools[name] = inner["name"]
        self._args[name] = {}
        inner["parameters"] = self._properties(name, inner["parameters"])
        if self._is_mute:
            inner["description"] = ""
        return renamed

    def _properties(self, tool: str, schema: dict[str, Any]) -> dict[str, Any]:
        """Rename what is in an object's schema; one name has one new name within a tool."""
        if self._is_mute:
            schema.pop("description", None)
        if "items" in schema:
            schema["items"] = self._properties(tool, schema["items"])
        if "properties" in schema:
            names = self._args[tool]
            for name in schema["properties"]:
                names.setdefault(name, f"a{len(names) + 1}")
            schema["properties"] = {
                names[name]: self._properties(tool, each) for name, each in schema["properties"].items()
            }
            schema["required"] = [names[name] for name in schema.get("required", [])]
        return schema

    def _under(self, tool: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {self._args[tool].get(name, name): self._under(tool, each) for name, each in value.items()}
        return [self._under(tool, each) for each in value] if isinstance(value, list) else value
