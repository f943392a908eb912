"""Scenarios of sessions with an intent, as data: a file of tools, and of prompts with what happens after them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import yaml

from agentguard.core import Decision, Observation, Principal, Request, SessionOpening
from agentguard.facts import FactExtractor
from agentguard.pdp import PolicyDecisionPoint, World
from agentguard.policy import compile_policies, shipped_rules
from agentguard.registry import ActionRegistry, Inventory, ResourceEntry

FILE = Path(__file__).parent / "intent" / "scenarios.yaml"
WHO = Principal("helper", on_behalf_of=("emma",))


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A result that was seen (`saw`), or a call and what is decided on it."""

    tool: str
    args: dict[str, Any] = {}
    saw: Any = msgspec.UNSET
    effect: str = ""
    origin: str = ""
    rule: str = ""


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    prompt: str
    steps: tuple[Step, ...]
    subject: tuple[str, ...] = ()


class Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tools: list[dict[str, Any]]
    scenarios: tuple[Scenario, ...]


@cache
def content() -> Content:
    return msgspec.convert(yaml.safe_load(FILE.read_text(encoding="utf-8")), Content)


@cache
def world() -> World:
    return World(
        ActionRegistry.build(()),
        Inventory.build([ResourceEntry(id="vault/main")], []),
        compile_policies((), shipped=shipped_rules()),
        facts=FactExtractor(),
    )


class Session:
    """A decision point with one session, as an enforcement point would use it."""

    def __init__(
        self, prompt: str, tools: Any = None, *, subject: tuple[str, ...] = (), base: World | None = None
    ) -> None:
        self.point = PolicyDecisionPoint(base or world())
        self.opened = self.point.open_session(
            SessionOpening(WHO, prompt, content().tools if tools is None else tools, subject=subject)
        )
        self.context = msgspec.structs.replace(Request(WHO, "", "").context, session=self.opened.session)

    def check(self, tool: str, args: dict[str, Any] | None = None) -> Decision:
        action = self.opened.actions.get(tool, tool)
        return self.point.decide(Request(WHO, action, f"tool:{action}", args or {}, self.context))

    def saw(self, tool: str, args: dict[str, Any] | None, result: Any, error: str = "") -> None:
        action = self.opened.actions.get(tool, tool)
        self.point.observe(
            Observation(WHO, action, f"tool:{action}", self.opened.session, result, error, args or {})
        )


def worst(decision: Decision) -> str:
    """Return the worst origin of a decision's arguments, `none` if it has none."""
    return (
        max((each.kind for each in decision.origins), key=lambda kind: kind.rank).value
        if decision.origins
        else "none"
    )
