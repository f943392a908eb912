"""JSON merge patches (RFC 7396): how an approver says what is to be changed."""

from __future__ import annotations

from typing import Any

from agentguard.core import ApprovalError

_MAX_DEPTH = 32


def merge_patch(params: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """Return `params` with `patch` applied; null removes a member, objects are merged, all else is replaced.

    Raises:
        ApprovalError: the patch is nested too deeply (`patch_invalid`).
    """
    merged = _merge(params, patch, _MAX_DEPTH)
    assert isinstance(merged, dict)
    return merged


def _merge(target: Any, patch: Any, depth: int) -> Any:
    if not isinstance(patch, dict):
        return patch
    if depth == 0:
        raise ApprovalError("the change is nested too deeply", code="patch_invalid")
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merge(merged.get(name), value, depth - 1)
    return merged
