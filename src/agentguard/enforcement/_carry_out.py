"""Carries out a decision's obligations on a result: masks it first, then bounds what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from agentguard.core import ExecutionError
from agentguard.enforcement._mask import mask
from agentguard.enforcement._obligation import obligation_problem

if TYPE_CHECKING:
    from agentguard.core import Decision


def carry_out(decision: Decision, result: Any) -> Any:
    """Return `result` as the decision's obligations want it; the same object where there are none.

    `mask_output` replaces by `[masked]` every text in the result (`true`) or each match of the patterns, in
    strings, bytes (as UTF-8), lists, tuples and the values of dicts; keys and numbers stay. Then `max_bytes`
    cuts a text or bytes to at most that many bytes of UTF-8, never within a character. Of several
    obligations of one name all hold.

    Raises:
        ExecutionError: an obligation is unknown, or the result has a type that cannot be masked, or it is
            neither text nor bytes and longer as JSON than `max_bytes`, or no JSON. Nothing may be passed on.
    """
    for obligation in decision.obligations:
        problem = obligation_problem(obligation)
        if problem:
            raise ExecutionError(problem)
    masks = [each.value for each in decision.obligations if each.name == "mask_output"]
    limits = [each.value for each in decision.obligations if each.name == "max_bytes"]
    if masks:
        patterns = None if True in masks else tuple(dict.fromkeys(p for each in masks for p in each))
        result = mask(result, patterns)
    return _bound(result, min(limits)) if limits else result


def _bound(result: Any, limit: int) -> Any:
    if result is None:
        return None
    if type(result) is str:
        # A character has at least one byte, so no more than `limit` of them can stay.
        return _cut(_encode(result[: limit + 1]), limit).decode()
    if type(result) is bytes:
        return _cut(result, limit)
    try:
        size = len(orjson.dumps(result))
    except (TypeError, ValueError, RecursionError):
        raise ExecutionError("a result that is no JSON cannot be measured for `max_bytes`") from None
    if size > limit:
        raise ExecutionError(f"the result has {size} bytes as JSON, `max_bytes` allows {limit}")
    return result


def _encode(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ExecutionError("a result that is no valid Unicode cannot be measured for `max_bytes`") from None


def _cut(data: bytes, limit: int) -> bytes:
    """Cut where a character starts; bytes that are no UTF-8 lose three more at most."""
    if len(data) <= limit:
        return data
    end = limit
    while end > max(0, limit - 3) and data[end] & 0xC0 == 0x80:  # noqa: PLR2004 - a continuation byte
        end -= 1
    return data[:end]
