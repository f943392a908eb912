from __future__ import annotations

import subprocess
import sys

import pytest

import agentguard.backends
from agentguard.core import ApprovalError

EXTRAS = {"PostgresApprovalStore": ("psycopg", "postgres"), "RedisApprovalStore": ("redis", "redis")}


@pytest.mark.parametrize("name", EXTRAS)
def test_without_the_extra_the_error_names_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    library, extra = EXTRAS[name]
    place = agentguard.backends._EXTRAS[name][0]
    monkeypatch.delitem(sys.modules, f"agentguard.backends.{place}", raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ApprovalError) as caught:
        getattr(agentguard.backends, name)
    assert caught.value.code == "extra_missing"
    assert caught.value.hint == f"pip install 'agentguard[{extra}]'"


def test_the_extras_are_loaded_when_they_are_used() -> None:
    code = "import sys, agentguard.backends, agentguard.assembly; print([m for m in sys.modules if m in %r])"
    libraries = {"psycopg", "psycopg_pool", "redis", "temporalio"}
    done = subprocess.run(
        [sys.executable, "-c", code % libraries], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def test_another_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError):
        _ = agentguard.backends.Nothing
