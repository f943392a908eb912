from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from agentguard import core
from agentguard.gateway import is_gateway_path
from agentguard.kernel.jail import IssuedPolicy, PolicyOrder
from agentguard.policy import PolicyDescription
from agentguard.sensor import LinkState
from agentguard.server import AgentSeen, openapi

FILE = Path(__file__).parents[2] / "schemas" / "openapi.json"
DESCRIPTION: dict[str, Any] = json.loads(msgspec.json.encode(openapi()))
OPERATIONS = [(path, *item) for path, methods in DESCRIPTION["paths"].items() for item in methods.items()]
TYPES = {
    name: getattr(core, name)
    for name in (
        "CheckCall",
        "CheckReply",
        "PlanCall",
        "PlanReply",
        "ObserveCall",
        "RegradeCall",
        "SessionCall",
        "OpenedSession",
        "VouchCall",
        "Outcome",
        "Ticket",
        "TicketCall",
        "TicketRevocation",
        "TicketRevocationReply",
        "Action",
        "ErrorBody",
        "LoginCall",
        "LoginReply",
        "WhoReply",
        "Approval",
        "ApprovalList",
        "ApprovalStatus",
        "WaitCall",
        "VoteCall",
        "DeferCall",
        "DelegateCall",
        "GlassCall",
        "ReviewCall",
        "CancelCall",
    )
} | {each.__name__: each for each in (PolicyDescription, LinkState, PolicyOrder, IssuedPolicy)}


def test_the_checked_in_description_is_up_to_date() -> None:
    expected = json.dumps(DESCRIPTION, indent=2, ensure_ascii=False) + "\n"
    assert FILE.read_text(encoding="utf-8") == expected, "write it again: python schemas/generate.py"


def contents(operation: dict[str, Any]) -> list[dict[str, Any]]:
    found = list(operation.get("requestBody", {}).get("content", {}).values())
    for status, answer in operation["responses"].items():
        if status < "400":
            found += answer.get("content", {}).values()
    return found


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS, ids=[each[0] for each in OPERATIONS])
def test_each_endpoint_has_an_example_that_fits_its_schema(
    path: str, method: str, operation: dict[str, Any]
) -> None:
    del path, method
    found = contents(operation)
    assert found
    for content in found:
        schema = {**content["schema"], "components": DESCRIPTION["components"]}
        jsonschema_rs.validator_for(schema).validate(content["example"])


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS, ids=[each[0] for each in OPERATIONS])
def test_each_example_decodes_as_cores_type(path: str, method: str, operation: dict[str, Any]) -> None:
    del path, method
    for content in contents(operation):
        name = content["schema"].get("$ref", "").rpartition("/")[2]
        if name:
            msgspec.json.decode(msgspec.json.encode(content["example"]), type=TYPES[name])


def test_listed_examples_decode_too() -> None:
    agents = DESCRIPTION["paths"]["/v1/agents"]["get"]["responses"]["200"]["content"]["application/json"]
    msgspec.convert(agents["example"]["agents"], list[AgentSeen])


def test_paths_of_the_gateway_are_those_that_it_serves() -> None:
    from agentguard.gateway._door import find_door

    described = [(method, path) for path, method, _ in OPERATIONS if is_gateway_path(path)]
    assert len(described) > 20
    for method, path in described:
        assert find_door(method.upper(), path.replace("{id}", "x-1").replace("{name}", "prod")).rest
