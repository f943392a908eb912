from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from agentguard.core import ConfigError, IdentityError, Principal
from agentguard.identity import LEEWAY_S, MAX_TTL_S, StateFolder, TokenIssuer, TokenKeys, TokenVerifier

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_800_000_000.0


class Clock:
    def __init__(self) -> None:
        self.time = NOW

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    return StateFolder.open("demo-1234", {"XDG_STATE_HOME": str(tmp_path)})


@pytest.fixture
def keys(state: StateFolder, clock: Clock) -> TokenKeys:
    return TokenKeys(state, now=clock)


def verifier_of(keys: TokenKeys) -> TokenVerifier:
    return TokenVerifier(keys, lambda id_: Principal(id=id_))


def refusal(verifier: TokenVerifier, token: str) -> str:
    with pytest.raises(IdentityError) as caught:
        verifier.verify(token)
    return caught.value.code


def test_revoked_token_is_refused_and_its_neighbour_is_not(keys: TokenKeys, clock: Clock) -> None:
    issuer, verifier = TokenIssuer(keys), verifier_of(keys)
    token, neighbour = issuer.issue("agent", ttl_s=60), issuer.issue("agent", ttl_s=60)
    keys.revocations.revoke(jti=verifier.verify(token).jti)
    clock.time += 0.5
    assert refusal(verifier, token) == "token_revoked"
    assert refusal(verifier_of(keys), token) == "token_revoked"
    assert verifier.verify(neighbour).principal.id == "agent"


@pytest.mark.parametrize("revoked", ["agent", "planner", "anna"])
def test_revoked_principal_ends_what_goes_to_through_or_for_it(
    keys: TokenKeys, clock: Clock, revoked: str
) -> None:
    issuer, verifier = TokenIssuer(keys), verifier_of(keys)
    token = issuer.issue("agent", ttl_s=60, on_behalf_of=("planner", "anna"))
    neighbour = issuer.issue("other", ttl_s=60, on_behalf_of=("somebody",))
    verifier.verify(token)
    clock.time += 0.1
    keys.revocations.revoke(principal=revoked)
    clock.time += 0.1
    later = issuer.issue("agent", ttl_s=60, on_behalf_of=("planner", "anna"))
    clock.time += 0.5
    assert refusal(verifier, token) == "token_revoked"
    assert verifier.verify(neighbour).principal.id == "other"
    assert verifier.verify(later).principal.id == "agent"


def test_revocation_is_seen_by_a_running_process_within_a_second(state: StateFolder) -> None:
    keys = TokenKeys(state)
    token = TokenIssuer(keys).issue("agent", ttl_s=600)
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from agentguard.core import IdentityError, Principal\n"
        "from agentguard.identity import StateFolder, TokenKeys, TokenVerifier\n"
        "verifier = TokenVerifier(TokenKeys(StateFolder(Path(sys.argv[1]), 'demo-1234')), lambda _: None)\n"
        "token = sys.stdin.readline().strip()\n"
        "verifier.verify(token)\n"
        "print('verified', flush=True)\n"
        "end = time.time() + 20\n"
        "while time.time() < end:\n"
        "    try:\n"
        "        verifier.verify(token)\n"
        "    except IdentityError as error:\n"
        "        print(error.code, time.time(), flush=True)\n"
        "        break\n"
        "    time.sleep(0.005)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(state.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(token + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "verified\n"
        keys.revocations.revoke(principal="agent")
        revoked_at = time.time()
        error_code, refused_at = process.stdout.readline().split()
    assert error_code == "token_revoked"
    assert float(refused_at) - revoked_at < 1.0


def test_revocation_outlives_a_restart(keys: TokenKeys, state: StateFolder, clock: Clock) -> None:
    token = TokenIssuer(keys).issue("agent", ttl_s=60)
    clock.time += 1
    keys.revocations.revoke(principal="agent")
    assert refusal(verifier_of(TokenKeys(state, now=clock)), token) == "token_revoked"


def test_clock_set_back_does_not_hide_a_revocation(keys: TokenKeys, clock: Clock) -> None:
    verifier = verifier_of(keys)
    token = TokenIssuer(keys).issue("agent", ttl_s=60)
    verifier.verify(token)
    keys.revocations.revoke(principal="agent")
    clock.time -= 1
    assert refusal(verifier, token) == "token_revoked"


def test_entries_are_pruned_when_their_tokens_are_expired(
    keys: TokenKeys, state: StateFolder, clock: Clock
) -> None:
    def subjects() -> list[str]:
        entries = json.loads(state.read("revocations.json"))["entries"]
        return [entry.get("jti") or entry["principal"] for entry in entries]

    keys.revocations.revoke(jti="first")
    clock.time += 10
    keys.revocations.revoke(principal="agent")
    keys.revocations.revoke(principal="agent")
    assert subjects() == ["first", "agent"]
    clock.time = NOW + MAX_TTL_S + LEEWAY_S
    keys.revocations.revoke(jti="last")
    assert subjects() == ["agent", "last"]


def test_many_writers_lose_no_revocation(state: StateFolder, keys: TokenKeys) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from agentguard.identity import StateFolder, TokenKeys\n"
        "keys = TokenKeys(StateFolder(Path(sys.argv[1]), 'demo-1234'), now=lambda: 1.8e9)\n"
        "for number in range(10):\n"
        "    keys.revocations.revoke(jti=f'{sys.argv[2]}-{number}')\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(state.path), name]) for name in "abc"]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    entries = json.loads(state.read("revocations.json"))["entries"]
    assert len({entry["jti"] for entry in entries}) == 30
    keys.refresh()
    assert keys.revocations.is_revoked("c-9", (), NOW)


@pytest.mark.parametrize("options", [{}, {"jti": "x", "principal": "y"}, {"jti": ""}])
def test_revocation_of_nothing_or_two_things_is_refused(keys: TokenKeys, options: dict[str, str]) -> None:
    with pytest.raises(IdentityError) as caught:
        keys.revocations.revoke(**options)
    assert caught.value.code == "revocation_invalid"


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"version": 2, "entries": []}', b"[]"])
def test_lost_or_damaged_list_refuses_every_token(
    keys: TokenKeys, state: StateFolder, clock: Clock, content: bytes | None
) -> None:
    issuer, verifier = TokenIssuer(keys), verifier_of(keys)
    token = issuer.issue("agent", ttl_s=60)
    verifier.verify(token)
    saved = state.read("revocations.json")
    if content is None:
        (state.path / "revocations.json").unlink()
    else:
        state.write("revocations.json", content)
    clock.time += 0.5
    for _ in range(2):
        assert refusal(verifier, token) == "revocations_unavailable"
    with pytest.raises(IdentityError) as caught:
        TokenKeys(state, now=clock)
    assert caught.value.code == "revocations_unavailable"
    with pytest.raises(IdentityError):
        keys.revocations.revoke(jti="x")
    state.write("revocations.json", saved)
    assert verifier.verify(token).principal.id == "agent"


def test_list_that_others_can_write_refuses_every_token(
    keys: TokenKeys, state: StateFolder, clock: Clock
) -> None:
    verifier, token = verifier_of(keys), TokenIssuer(keys).issue("agent", ttl_s=60)
    keys.revocations.revoke(jti="x")
    (state.path / "revocations.json").chmod(0o666)
    clock.time += 0.5
    with pytest.raises((IdentityError, ConfigError)):
        TokenKeys(state, now=clock)
    state.write("revocations.json", b"")
    (state.path / "revocations.json").chmod(0o666)
    assert refusal(verifier, token) in ("keys_unavailable", "revocations_unavailable")


def test_verified_token_is_refused_from_its_last_second_on(keys: TokenKeys, clock: Clock) -> None:
    verifier, token = verifier_of(keys), TokenIssuer(keys).issue("agent", ttl_s=60)
    clock.time = NOW + 59.9
    verifier.verify(token)
    verifier.verify(token)
    clock.time = NOW + 60
    assert refusal(verifier, token) == "token_expired"


def test_cache_keeps_the_newest_and_forgets_on_request(keys: TokenKeys) -> None:
    asked: list[str] = []

    def directory(id_: str) -> Principal:
        asked.append(id_)
        return Principal(id=id_)

    verifier = TokenVerifier(keys, directory, cache_size=2)
    tokens = [TokenIssuer(keys).issue(f"agent-{number}", ttl_s=60) for number in range(3)]
    for token in (tokens[0], tokens[1], tokens[0], tokens[2], tokens[0], tokens[1]):
        verifier.verify(token)
    assert asked == ["agent-0", "agent-1", "agent-2", "agent-1"]
    verifier.forget()
    verifier.verify(tokens[0])
    assert asked[4:] == ["agent-0"]
