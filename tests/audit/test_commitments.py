from __future__ import annotations

import pytest

from agentguard.audit import Commitments
from agentguard.core import ConfigError


def test_equal_values_have_equal_commitments_under_one_key_only() -> None:
    mine, other = Commitments(b"k" * 32), Commitments(b"o" * 32)
    assert mine.commit({"a": 1, "b": "x"}) == mine.commit({"b": "x", "a": 1})
    assert mine.commit("1") != mine.commit(1)
    assert mine.commit("hunter2") != other.commit("hunter2")
    assert len(mine.commit(None)["c"]) == 64


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ConfigError):
        Commitments(b"short")
