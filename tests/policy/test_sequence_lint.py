from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agentguard.core import Action, Risk
from agentguard.pdp import lint_policies
from agentguard.policy import parse_policies
from agentguard.registry import ActionRegistry, Inventory

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}
REGISTRY = ActionRegistry.build(
    [Action("read-it", 1, "x", Risk.LOW, SCHEMA), Action("send-it", 1, "x", Risk.LOW)]
)
READ = "{id: a, effect: deny, after: {actions: [read-it]%s}, then: {actions: [send-it]}%s}"
COUNT = "{id: %s, effect: %s, of: {actions: [send-it]}, count: %d, per: %s}"


def lint(text: str) -> list[tuple[str, str, str]]:
    policies = parse_policies("version: 1\n" + text, file="p.yaml")
    found = lint_policies(policies, REGISTRY, Inventory.build([], []), now=datetime(2026, 1, 5, tzinfo=UTC))
    assert all(each.location is not None for each in found)
    return [(each.kind.value, each.rule, each.message) for each in found]


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        (
            "sequences: [{id: a, effect: deny, after: {actions: [no-such]}, then: {actions: [send-it]}}]",
            ("unreachable", "a", "no declared action is called as `after` says"),
        ),
        (
            "sequences: [{id: a, effect: deny, requires: {actions: [read-it]}, then: {actions: [send-it, s-*, x]}}]",
            ("unreachable", "a", "no declared action is called `s-*`, as `then` says"),
        ),
        (
            f"sequences: [{READ % ('', ', unless: {actions: [read-it]}')}]",
            ("vacuous", "a", "its `unless` is one of its other steps"),
        ),
        (
            f"sequences: [{READ % (', when: {params: {m: 1}}', '')}]",
            ("undeclared_parameter", "a", "no action of its `after` declares the parameter `m`"),
        ),
        (
            f"sequences: [{READ % (', when: {provenance: {m: {source: user}}}', '')}]",
            ("undeclared_parameter", "a", "no action of its `after` declares the parameter `m`"),
        ),
        (
            "limits: [{id: a, effect: deny, of: {actions: ['*-it']}, sum: /n, max: 3}]",
            (
                "undeclared_parameter",
                "a",
                "`/n` is no parameter of send-it@1; it stops each of their requests",
            ),
        ),
        (
            f"limits: [{COUNT % ('a', 'deny', 5, '1h')}, {COUNT % ('b', 'require_approval', 6, '10m')}]",
            ("vacuous", "b", "never stops anything: `a` does before"),
        ),
        (
            f"limits: [{COUNT % ('a', 'deny', 5, '1h')}, {COUNT % ('b', 'deny', 5, '1h')}]",
            ("vacuous", "b", "never stops anything: `a` does before"),
        ),
    ],
)
def test_what_cannot_be_meant_is_found(text: str, finding: tuple[str, str, str]) -> None:
    assert finding in lint(text)


@pytest.mark.parametrize(
    "text",
    [
        f"sequences: [{READ % ('', ', unless: {actions: [se*]}')}]",
        f"limits: [{COUNT % ('a', 'require_approval', 5, '1h')}, {COUNT % ('b', 'deny', 6, '1h')}]",
        f"limits: [{COUNT % ('a', 'deny', 5, '10m')}, {COUNT % ('b', 'deny', 50, '1h')}]",
        f"limits: [{{id: s, effect: deny, of: {{actions: [read-it]}}, sum: /n, max: 3}}, {COUNT % ('b', 'deny', 6, '1h')}]",
        "breaker: {denials: 3, within: 5m, pause: 5m}",
    ],
)
def test_what_can_be_meant_is_not(text: str) -> None:
    assert lint(text) == []
