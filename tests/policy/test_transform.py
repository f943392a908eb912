from __future__ import annotations

from typing import Any

import msgspec

from agentguard.policy import TransformOp
from agentguard.policy._transform import compile_op


def rewritten(params: dict[str, Any], **op: Any) -> dict[str, Any]:
    rewrite = compile_op(msgspec.convert(op, TransformOp))
    assert rewrite is not None
    rewrite(params)
    return params


def test_value_that_is_set_is_a_copy_each_time() -> None:
    rewrite = compile_op(TransformOp("set", "/a", {"deep": [1]}))
    assert rewrite is not None
    first: dict[str, Any] = {}
    rewrite(first)
    first["a"]["deep"].append("changed by whoever got it")
    second: dict[str, Any] = {}
    rewrite(second)
    assert second == {"a": {"deep": [1]}}


def test_read_only_rewrites_no_parameters() -> None:
    assert compile_op(TransformOp("read_only")) is None


def test_clamp_keeps_a_fraction_inside_its_bounds() -> None:
    assert rewritten({"n": 2.5}, op="clamp", path="/n", min=1, max=3) == {"n": 2.5}


def test_empty_replacement_removes() -> None:
    assert rewritten({"a": "x1y"}, op="replace", path="/a", pattern="[0-9]", **{"with": ""}) == {"a": "xy"}
