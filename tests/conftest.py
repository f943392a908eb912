from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from command_line import Command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from approval_services import PostgresServer, RedisServer, TemporalServer

# CI must say the same of the same commit; on a person's machine each run looks somewhere else.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture
def agentguard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Return the command, in a project that `agentguard init` made."""
    state = tmp_path / "state"
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    for name in ("NO_COLOR", "AGENTGUARD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "project"
    made = Command(folder, state, capsys)
    assert made("init", folder).code == 0
    monkeypatch.chdir(folder)
    return made


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """Return a running Redis; its address is in the environment, for processes that tests start."""
    from approval_services import RedisServer, serving

    yield from serving(RedisServer, "AGENTGUARD_TEST_REDIS")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Return a running PostgreSQL, as above."""
    from approval_services import PostgresServer, serving

    yield from serving(PostgresServer, "AGENTGUARD_TEST_POSTGRES")


@pytest.fixture(scope="session")
def temporal_server() -> Iterator[TemporalServer]:
    """Return a running Temporal, as above."""
    from approval_services import TemporalServer, serving

    yield from serving(TemporalServer, "AGENTGUARD_TEST_TEMPORAL")
