from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from command_line import Command

if TYPE_CHECKING:
    from pathlib import Path


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
