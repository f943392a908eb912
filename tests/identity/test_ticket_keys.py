from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentguard.core import IntegrityError
from agentguard.identity import LEEWAY_S, MAX_TICKET_TTL_S, StateFolder, TicketKeys, TokenKeys

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    return StateFolder.open("demo-1234", {"XDG_STATE_HOME": str(tmp_path)})


def test_tickets_and_tokens_have_keys_of_their_own(state: StateFolder) -> None:
    tickets, tokens = TicketKeys(state), TokenKeys(state)
    assert tickets.current()[0] != tokens.current()[0]
    assert tickets.find(tokens.current()[0]) is None
    assert tokens.find(tickets.current()[0]) is None
    assert tickets.issuer == tokens.issuer == "agentguard:demo-1234"


def test_another_process_sees_a_rotation_at_once(state: StateFolder) -> None:
    ours, theirs = TicketKeys(state), TicketKeys(state)
    old = ours.current()[0]
    fresh = theirs.rotate()
    assert ours.find(fresh) is not None
    assert ours.current()[0] == fresh
    assert ours.find(old) is not None
    assert ours.find("no such key") is None


def test_an_old_key_verifies_as_long_as_its_last_ticket_lives(state: StateFolder) -> None:
    moment = [1_800_000_000.0]
    keys = TicketKeys(state, now=lambda: moment[0])
    old = keys.current()[0]
    keys.rotate()
    moment[0] += MAX_TICKET_TTL_S + LEEWAY_S - 1
    assert keys.find(old) is not None
    moment[0] += 1
    assert keys.find(old) is None
    assert len(keys.jwks()["keys"]) == 1


def test_a_damaged_file_is_told(state: StateFolder) -> None:
    keys = TicketKeys(state)
    state.write("ticket-keys.json", b"{}")
    with pytest.raises(IntegrityError):
        keys.current()
    with pytest.raises(IntegrityError):
        TicketKeys(state)
