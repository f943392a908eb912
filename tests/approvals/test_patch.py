from __future__ import annotations

from typing import Any

import pytest

from agentguard.approvals import merge_patch
from agentguard.core import ApprovalError


# RFC 7396, appendix A, as far as both are objects.
@pytest.mark.parametrize(
    ("params", "patch", "merged"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_patch_is_merged(params: dict[str, Any], patch: dict[str, Any], merged: dict[str, Any]) -> None:
    assert merge_patch(params, patch) == merged


def test_a_patch_without_end_is_refused() -> None:
    patch: dict[str, Any] = {}
    for _ in range(40):
        patch = {"a": patch}
    with pytest.raises(ApprovalError):
        merge_patch({}, patch)
