from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from agentguard.core import Action, Principal, Risk, Sensitivity
from agentguard.pdp import lint_policies
from agentguard.policy import LintFinding, LintKind, Rule, compile_policies
from agentguard.registry import ActionRegistry, Inventory, ResourceEntry

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
QUERY = {
    "type": "object",
    "properties": {
        "query": {"type": "string", "facts": "sql"},
        "limit": {"type": "integer", "facts": "rows"},
    },
    "required": ["query"],
}
SEND = {
    "type": "object",
    "properties": {"to": {"type": "array", "items": {"type": "string"}}, "spec": {"type": "object"}},
}
REGISTRY = ActionRegistry.build(
    [
        Action("query", 1, "q", Risk.LOW, QUERY),
        Action("send", 1, "s", Risk.LOW, SEND, resource_types=("queue",)),
        Action("read", 1, "r", Risk.LOW, {"type": "object"}, resource_types=("file",)),
    ]
)
INVENTORY = Inventory.build(
    [ResourceEntry("queue/out", "queue", "", Sensitivity.PUBLIC)], [Principal("ann", roles=("dev",))]
)
BAN: dict[str, Any] = {"effect": "deny"}


def findings(*written: dict[str, Any]) -> list[LintFinding]:
    rules = [
        msgspec.convert({"id": f"r{at}", "effect": "allow", **each}, Rule) for at, each in enumerate(written)
    ]
    return lint_policies(compile_policies(rules), REGISTRY, INVENTORY, now=NOW)


def said(*written: dict[str, Any]) -> list[str]:
    return [f"{each.kind.value}: {each.message}" for each in findings(*written)]


def asking(action: str | None, part: str = "when", **conditions: Any) -> dict[str, Any]:
    return {part: conditions, **({"actions": [action]} if action else {})}


HOLDS = "no argument of its actions states the fact"


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            asking("send", facts={"sql.kinds": ["select"]}),
            f"unstated_fact: {HOLDS} `sql.kinds`, so its `when` never holds there",
        ),
        (
            {**BAN, **asking("send", facts={"sql.kinds": ["drop"]})},
            f"unstated_fact: {HOLDS} `sql.kinds`, so its `when` always holds there",
        ),
        (
            {**BAN, **asking("send", "unless", facts={"sql.kinds": ["select"]})},
            f"unstated_fact: {HOLDS} `sql.kinds`, so its `unless` never holds there",
        ),
        (
            asking("query", facts={"data.bytes": {"max": 9}}),
            f"unstated_fact: {HOLDS} `data.bytes`, so its `when` never holds there",
        ),
        (
            {**asking("query", facts={"path.class": "log"}), "resources": ["db/**"]},
            f"unstated_fact: {HOLDS} `path.class`, so its `when` never holds there",
        ),
        (
            asking("query", facts={"sql.kinds": ["select", "dropp"]}),
            "vacuous: the fact `sql.kinds` is never `dropp`; did you mean `drop`",
        ),
        (
            asking("query", facts={"data.rows": {"min": 5, "max": 4}}),
            "vacuous: no value of the fact `data.rows` satisfies its `when`",
        ),
        (
            asking("query", facts={"sql.kinds": {"pattern": "x.*"}}),
            "vacuous: no value of the fact `sql.kinds` satisfies its `when`",
        ),
        (
            {**BAN, **asking("query", "unless", facts={"sql.tables": []})},
            "vacuous: no value of the fact `sql.tables` satisfies its `unless`",
        ),
        (
            asking("send", provenance={"to": {"integrity": []}}),
            "vacuous: no origin of its arguments satisfies its `when`",
        ),
        (
            asking("send", provenance={"to": {"integrity": "untrusted"}, "*": {"integrity": "trusted"}}),
            "vacuous: no origin of its arguments satisfies its `when`",
        ),
        (
            asking(
                "send", provenance={"spec": {"integrity": "trusted"}, "/spec/x": {"integrity": "untrusted"}}
            ),
            "vacuous: no origin of its arguments satisfies its `when`",
        ),
        (
            {
                **BAN,
                **asking(
                    "send",
                    provenance={
                        "spec": {"confidentiality": "public"},
                        "/spec/x": {"confidentiality": {"min": "restricted"}},
                    },
                ),
            },
            "vacuous: no origin of its arguments satisfies its `when`",
        ),
        (
            asking("send", provenance={"recipient": {"integrity": "trusted"}}),
            "undeclared_parameter: none of its actions declares the parameter `recipient`",
        ),
        (
            {
                **asking("query", facts={"sql.kinds": ["select"]}),
                "unless": {"facts": {"sql.kinds": ["select", "insert"]}},
            },
            "vacuous: its `unless` exempts all that its `when` is about",
        ),
    ],
)
def test_condition_that_cannot_be_meant_is_reported(rule: dict[str, Any], message: str) -> None:
    assert message in said(rule)


@pytest.mark.parametrize(
    "rule",
    [
        asking("query", facts={"sql.kinds": ["select"]}),
        {**BAN, "tier": "mandatory", **asking(None, facts={"mail.count": {"present": True, "min": 20}})},
        asking("read", facts={"path.class": "ordinary"}),
        {**asking("query", facts={"path.class": "log"}), "resources": ["file:/var/**"]},
        {**asking("query", facts={"path.class": "log"}), "resources": [{"type": "file"}]},
        asking("query", facts={"sql.tables": {"pattern": "x|y"}}),
        asking("query", facts={"sql.unparsed": {"present": False}}),
        asking("send", provenance={"to": {"integrity": ["trusted"]}, "*": {"integrity": "trusted"}}),
        {**BAN, **asking("send", provenance={"*": {"category": "personal", "source": ["tool:*", "user"]}})},
        asking("send", provenance={"*": {"source": ["a", "b", "c"]}}),
        {
            **BAN,
            **asking("query", facts={"sql.kinds": ["select"]}),
            "unless": {"facts": {"sql.kinds": ["select"]}},
        },
    ],
)
def test_neighbour_that_can_be_meant_is_not_reported(rule: dict[str, Any]) -> None:
    assert said(rule) == []


MANDATORY: dict[str, Any] = {**BAN, "tier": "mandatory"}
ROWS: dict[str, Any] = {"data.rows": {"min": 10}}
SHADOWED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (asking("query", facts=ROWS), asking("query", facts=ROWS)),
    (asking("query", facts={"data.rows": {"min": 20}}), asking("query", facts=ROWS)),
    (asking("query", facts={"sql.kinds": ["drop"]}), asking(None, facts={"sql.kinds": ["drop", "delete"]})),
    (
        {**BAN, **asking("query", facts={"sql.kinds": ["drop"]})},
        asking(None, facts={"sql.kinds": ["drop", "delete"]}),
    ),
    (
        asking("query", facts={"sql.kinds": ["drop"]}),
        asking(None, facts={"sql.kinds": {"present": True, "in": ["drop"]}}),
    ),
    (
        asking("send", provenance={"to": {"integrity": "untrusted", "category": "personal"}}),
        asking("send", provenance={"to": {"integrity": ["untrusted", "unverified"]}}),
    ),
    (
        {**BAN, **asking("send", provenance={"to": {"confidentiality": "critical"}})},
        asking("send", provenance={"to": {"confidentiality": {"min": "restricted"}}}),
    ),
    (
        asking("query", context={"ticket": "absent"}, facts=ROWS),
        asking("query", context={"ticket": "absent"}),
    ),
]
NOT_SHADOWED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (asking("query", facts=ROWS), asking("query", facts={"data.rows": {"min": 20}})),
    (asking("query", facts=ROWS), asking("query", facts={"data.rows": {"max": 20}})),
    (
        asking("query", facts={"sql.kinds": ["drop", "select"]}),
        asking("query", facts={"sql.kinds": ["drop"]}),
    ),
    (
        {**BAN, **asking("query", facts={"sql.kinds": ["drop"]})},
        asking(None, facts={"sql.kinds": {"present": True, "in": ["drop"]}}),
    ),
    (
        {**BAN, **asking("query", params={"query": 3})},
        asking("query", params={"query": [3, "y"]}),
    ),
    (asking("query"), asking("query", facts=ROWS)),
    (
        asking("send", provenance={"to": {"category": "personal"}}),
        asking("send", provenance={"to": {"integrity": "untrusted"}}),
    ),
    (
        asking("query", facts=ROWS),
        {**asking("query", facts=ROWS), "unless": {"context": {"ticket": "present"}}},
    ),
    (asking("query", time={"days": ["mon"]}), asking("query", time={"days": ["tue"]})),
]


@pytest.mark.parametrize(("rule", "ban"), SHADOWED)
def test_rule_whose_conditions_a_mandatory_ban_covers_never_wins(
    rule: dict[str, Any], ban: dict[str, Any]
) -> None:
    found = findings(rule, {**ban, **MANDATORY})
    assert [each.other for each in found if each.kind is LintKind.SHADOWED] == ["r1"]


@pytest.mark.parametrize(("rule", "ban"), NOT_SHADOWED)
def test_rule_that_a_mandatory_ban_covers_in_part_can_win(rule: dict[str, Any], ban: dict[str, Any]) -> None:
    assert all(each.kind is not LintKind.SHADOWED for each in findings(rule, {**ban, **MANDATORY}))


def test_witness_says_which_facts_and_which_origins_it_has() -> None:
    one = asking("send", provenance={"to": {"integrity": ["untrusted", "unverified"]}})
    other = {**BAN, **asking("send", provenance={"to": {"integrity": "untrusted", "source": "tool:mail.*"}})}
    (conflict,) = (each for each in findings(one, other) if each.kind is LintKind.CONFLICT)
    assert conflict.witness is not None
    (origin,) = conflict.witness.provenance.values()
    assert (origin.label.integrity.value, origin.sources) == ("untrusted", ("tool:mail.x",))
    assert conflict.witness.params["to"]
    (conflict,) = findings(
        asking("query", facts={"sql.kinds": ["select", "delete"]}),
        {**BAN, **asking("query", facts={"sql.kinds": ["delete"]})},
    )
    assert conflict.witness is not None
    assert conflict.witness.facts == {"sql.kinds": ("delete",)}
