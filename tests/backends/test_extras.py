from __future__ import annotations

import subprocess
import sys

import pytest

import agentguard.backends

EXTRAS = {
    "PostgresApprovalStore": ("psycopg", "postgres"),
    "RedisApprovalStore": ("redis", "redis"),
    "TemporalEngine": ("temporalio", "temporal"),
}


WITHOUT = """
import sys
sys.modules[sys.argv[1]] = None
import agentguard.backends
from agentguard.core import ApprovalError
try:
    getattr(agentguard.backends, sys.argv[2])
except ApprovalError as error:
    print(error.code, error.hint)
"""


@pytest.mark.parametrize("name", EXTRAS)
def test_without_the_extra_the_error_names_it(name: str) -> None:
    library, extra = EXTRAS[name]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, library, name], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == f"extra_missing pip install 'agentguard[{extra}]'"


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
