"""Actions: what can be done at all. What no action declares cannot be asked for."""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from agentguard.core.label import Label
from agentguard.core.resource import Risk, Sensitivity


class Sink(enum.Enum):
    """Where the arguments of an action end up."""

    INTERNAL = "internal"
    EXTERNAL = "external"


class Flow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an action does to information: the label of its result, and where its arguments go.

    `clearance` is the highest confidentiality that the sink may receive.
    """

    source: Label | None = None
    sink: Sink | None = None
    clearance: Sensitivity | None = None


class Action(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A declared action.

    `params` is a JSON Schema (draft 2020-12) of type object; a property with `secret: true` never reaches
    the log in clear. `prechecks` and `required_privileges` are data, shown with the Decision: nothing runs
    them here. `read_only_form` and `compensating_action` are references (`name@version`).
    """

    name: str
    version: int
    description: str
    risk: Risk
    params: dict[str, Any] = {}
    resource_types: tuple[str, ...] = ()
    prechecks: tuple[str, ...] = ()
    required_privileges: tuple[str, ...] = ()
    reversible: bool = False
    compensating_action: str | None = None
    read_only_form: str | None = None
    flow: Flow | None = None
    tags: tuple[str, ...] = ()

    @property
    def reference(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"
