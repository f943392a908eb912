from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from command_line import Command

if TYPE_CHECKING:
    from pathlib import Path

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
