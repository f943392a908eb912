"""The workload in our own language: rules, actions, inventory, requests; in memory, and as a project folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from agentguard.core import Action, Effect, Principal, Request, Resource, Risk, Sensitivity
from agentguard.pdp import World
from agentguard.policy import (
    ParamCondition,
    PrincipalSelector,
    ResourceSelector,
    Rule,
    Unless,
    When,
    compile_policies,
)
from agentguard.registry import ActionRegistry, Inventory, ResourceEntry
from benchmarks.workload import MAX_AMOUNT, ROLES, VERBS

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.workload import Ask, Host, Spec, Workload

# Of the risk scores that these give, none reaches 9 alone: the rules decide, and risk is computed all the same.
RISKS = dict(zip(VERBS, (Risk.MEDIUM, Risk.MEDIUM, Risk.MEDIUM, Risk.LOW, Risk.HIGH), strict=True))
SENSITIVITIES = (Sensitivity.PUBLIC, Sensitivity.INTERNAL)
PARAMS = {
    "type": "object",
    "properties": {
        "amount": {"type": "integer", "minimum": 0, "maximum": MAX_AMOUNT},
        "reason": {"type": "string", "maxLength": 200},
        "dry_run": {"type": "boolean"},
    },
    "required": ["amount"],
}


def rules(specs: tuple[Spec, ...]) -> list[Rule]:
    """Return the rules of a workload."""
    return [
        Rule(
            id=spec.id,
            effect=Effect(spec.effect),
            principals=(PrincipalSelector(role=spec.role),),
            actions=(spec.action,),
            resources=(ResourceSelector(environment=spec.environment),),
            when=When(params={"amount": ParamCondition(min=spec.low, max=spec.high)}),
            unless=Unless(resources=(ResourceSelector(labels={"tag": spec.unless_tag}),)),
            reason=f"{spec.role} and {spec.action} in {spec.environment}",
        )
        for spec in specs
    ]


def principals() -> list[Principal]:
    """Return who asks: one agent for each role."""
    return [Principal(f"agent-{role}", roles=(role,)) for role in ROLES]


def actions(load: Workload) -> list[Action]:
    """Return the actions of a workload."""
    return [
        Action(
            name=name,
            version=1,
            description="One of the benchmark's actions",
            risk=RISKS[name.partition("-")[2]],
            params=PARAMS,
            resource_types=("host",),
            prechecks=("the service answers",),
            required_privileges=("ops",),
        )
        for name in load.actions
    ]


def entries(load: Workload) -> list[ResourceEntry]:
    """Return the inventory's entries."""
    return [
        ResourceEntry(
            id=host.id,
            type="host",
            environment=host.environment,
            sensitivity=SENSITIVITIES[index % 2],
            owner="platform",
            labels={"tag": host.tag},
        )
        for index, host in enumerate(load.hosts)
    ]


def world(load: Workload) -> World:
    """Return all that our decisions depend on."""
    return World(
        registry=ActionRegistry.build(actions(load)),
        inventory=Inventory.build(entries(load), principals()),
        policies=compile_policies(rules(load.specs)),
    )


def params(ask: Ask) -> dict[str, Any]:
    """Return the parameters of a request."""
    return {"amount": ask.amount, "reason": "routine work", "dry_run": False}


def requests(load: Workload) -> list[Request]:
    """Return the requests of a workload."""
    who = {each.id: each for each in principals()}
    return [
        Request(principal=who[ask.principal], action=ask.action, resource=ask.host.id, params=params(ask))
        for ask in load.asks
    ]


def resource(host: Host, inventory: Inventory) -> Resource:
    """Return what the inventory knows of a host."""
    return inventory.resolve(host.id)


def write_policies(load: Workload, path: Path) -> None:
    """Write the rules of a workload as YAML, a key a line."""
    path.write_text("version: 1\nrules:\n" + "".join(map(_yaml, load.specs)), encoding="utf-8")


def _yaml(spec: Spec) -> str:
    return f"""\
  - id: {spec.id}
    effect: {spec.effect}
    principals: [{{role: {spec.role}}}]
    actions: ["{spec.action}"]
    resources: [{{environment: {spec.environment}}}]
    when: {{params: {{amount: {{min: {spec.low}, max: {spec.high}}}}}}}
    unless: {{resources: [{{labels: {{tag: {spec.unless_tag}}}}}]}}
    reason: "{spec.role} and {spec.action} in {spec.environment}"
"""


def write_project(load: Workload, folder: Path) -> None:
    """Write the workload as a project that `Guard.open` takes."""
    for name in ("policies", "actions"):
        (folder / name).mkdir(parents=True)
    (folder / "agentguard.yaml").write_text(
        "project:\n  id: benchmark\n  name: benchmark\n", encoding="utf-8"
    )
    write_policies(load, folder / "policies" / "rules.yaml")
    declared = [
        {
            "name": each.name,
            "version": 1,
            "description": each.description,
            "risk": each.risk.value,
            "params": PARAMS,
            "resource_types": ["host"],
            "prechecks": ["the service answers"],
            "required_privileges": ["ops"],
        }
        for each in actions(load)
    ]
    (folder / "actions" / "actions.json").write_text(json.dumps({"actions": declared}), encoding="utf-8")
    inventory = {
        "resources": [
            {
                "id": each.id,
                "type": each.type,
                "environment": each.environment,
                "sensitivity": (each.sensitivity or Sensitivity.CRITICAL).value,
                "owner": each.owner,
                "labels": each.labels,
            }
            for each in entries(load)
        ],
        "principals": [{"id": each.id, "roles": list(each.roles)} for each in principals()],
    }
    # JSON is YAML: the inventory's file has a fixed name.
    (folder / "inventory.yaml").write_text(json.dumps(inventory, indent=1), encoding="utf-8")
