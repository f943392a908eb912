from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentguard.core import IntegrityError
from agentguard.identity import AdminToken, LoginCodes, StateFolder

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    return StateFolder.open("demo-1234", {"XDG_STATE_HOME": str(tmp_path)})


def test_admin_token_is_made_once_and_matches_itself_alone(state: StateFolder) -> None:
    token = AdminToken(state)
    text = token.reveal()
    assert text.startswith("agadm_")
    assert len(text) == 49
    assert AdminToken(state).matches(text)
    for wrong in ("", text[:-1], text + "=", text.upper(), "agadm_" + "A" * 43, "\udcff", "é"):
        assert not token.matches(wrong)
    assert text not in repr(token)


@pytest.mark.parametrize("content", [b"", b"agadm_short", b"\xff" * 49, b"agadm_" + b"A" * 43 + b"\n\n"])
def test_damaged_admin_token_is_refused(state: StateFolder, content: bytes) -> None:
    state.write("admin-token", content)
    with pytest.raises(IntegrityError) as caught:
        AdminToken(state)
    assert caught.value.code == "state_corrupt"


def test_login_code_logs_in_once() -> None:
    codes = LoginCodes()
    first, second = codes.issue(), codes.issue()
    assert not codes.redeem("guess")
    assert codes.redeem(first)
    assert not codes.redeem(first)
    assert codes.redeem(second)


def test_login_code_expires_after_five_minutes() -> None:
    time = [0.0]
    codes = LoginCodes(now=lambda: time[0])
    early, late = codes.issue(), codes.issue()
    time[0] = 299.9
    assert codes.redeem(early)
    time[0] = 300.0
    assert not codes.redeem(late)


def test_oldest_login_code_is_dropped_beyond_sixteen() -> None:
    codes = LoginCodes()
    issued = [codes.issue() for _ in range(17)]
    assert not codes.redeem(issued[0])
    assert all(codes.redeem(code) for code in issued[1:])
