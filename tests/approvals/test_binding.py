from __future__ import annotations

from typing import Any

import pytest

from agentguard.approvals import bind

REQUEST: dict[str, Any] = {
    "principal": "agent",
    "on_behalf_of": ["olga"],
    "action": "pay@1",
    "resource": "bank/1",
    "params": {"amount": 1, "to": "x"},
    "policy_version": "sha256:1",
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("principal", "other"),
        ("on_behalf_of", []),
        ("action", "pay@2"),
        ("resource", "bank/2"),
        ("params", {"amount": True, "to": "x"}),
        ("policy_version", "sha256:2"),
    ],
)
def test_an_approval_is_for_just_this(name: str, value: object) -> None:
    assert bind(**(REQUEST | {name: value})) != bind(**REQUEST)


def test_the_order_of_parameters_does_not_matter() -> None:
    assert bind(**(REQUEST | {"params": {"to": "x", "amount": 1.0}})) == bind(**REQUEST)
