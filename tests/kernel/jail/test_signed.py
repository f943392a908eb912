from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from agentguard.core import IntegrityError
from agentguard.identity import KeyRing, StateFolder, kernel_keys
from agentguard.kernel._rules import KernelPolicy, PathRule
from agentguard.kernel.jail import (
    Acceptance,
    SignedPolicy,
    content_of,
    issue_policy,
    sign_policy,
    verify_policy,
)

if TYPE_CHECKING:
    from pathlib import Path

POLICY = KernelPolicy(
    7, "sha256:x", "agent", "enforce", (PathRule("/a", ("read",), "allow", "r"),), (), (), ()
)


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    return StateFolder.open("test-project", {"XDG_STATE_HOME": str(tmp_path)})


@pytest.fixture
def keys(state: StateFolder) -> KeyRing:
    return kernel_keys(state)


def test_signed_policy_comes_back_as_it_was(keys: KeyRing) -> None:
    signed = sign_policy(POLICY, keys.signer())
    carried = msgspec.json.decode(msgspec.json.encode(signed), type=SignedPolicy)
    assert verify_policy(carried, keys.public_keys(), newest=7, principal="agent") == POLICY


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"policy": msgspec.Raw(content_of(POLICY))}, "signature"),
        ({"signature": "AAAA"}, "signature"),
        ({"signature": "?"}, "signature"),
        ({"signature": ""}, "is not signed"),
        ({"key_id": "another"}, "key that is not the project's"),
    ],
)
def test_policy_that_was_changed_is_refused(keys: KeyRing, change: dict[str, Any], why: str) -> None:
    signed = msgspec.structs.replace(sign_policy(POLICY, keys.signer()), **change)
    with pytest.raises(IntegrityError, match=why) as caught:
        verify_policy(signed, keys.public_keys(), newest=0, principal="agent")
    assert caught.value.code == "kernel_policy_refused"


def test_policy_of_another_principal_is_refused(keys: KeyRing) -> None:
    signed = sign_policy(POLICY, keys.signer())
    with pytest.raises(IntegrityError, match="is for `agent`, and not for `other`"):
        verify_policy(signed, keys.public_keys(), newest=0, principal="other")


def test_key_that_was_rotated_away_signs_nothing_that_holds(state: StateFolder, keys: KeyRing) -> None:
    signed = issue_policy(POLICY, state)
    keys.rotate()
    with pytest.raises(IntegrityError, match="key that is not the project's"):
        Acceptance(state, "agent").accept(signed)


def test_older_policy_is_refused_though_it_is_signed(keys: KeyRing) -> None:
    signed = sign_policy(POLICY, keys.signer())
    with pytest.raises(IntegrityError, match="version 7, and 8"):
        verify_policy(signed, keys.public_keys(), newest=8, principal="agent")


def test_signed_text_that_is_no_policy_is_refused(keys: KeyRing) -> None:
    import base64

    signer = keys.signer()
    data = b'{"version":"x"}'
    message = b"agentguard-kernel-policy-v1\n" + signer.key_id.encode() + b"\n" + data
    text = base64.urlsafe_b64encode(signer.sign(message)).decode().rstrip("=")
    with pytest.raises(IntegrityError, match="cannot be read"):
        verify_policy(
            SignedPolicy(msgspec.Raw(data), signer.key_id, text),
            keys.public_keys(),
            newest=0,
            principal="agent",
        )


def test_what_a_policy_says_does_not_depend_on_its_number() -> None:
    assert content_of(POLICY) == content_of(msgspec.structs.replace(POLICY, version=8))
    assert content_of(POLICY) != content_of(msgspec.structs.replace(POLICY, mode="kill"))


def test_number_grows_when_the_policy_says_something_else(state: StateFolder) -> None:
    other = msgspec.structs.replace(POLICY, mode="kill")
    signed = [issue_policy(each, state) for each in (POLICY, POLICY, other, POLICY)]
    numbers = [Acceptance(state, "agent").accept(each).version for each in signed]
    assert numbers == [1, 1, 2, 3]


def test_older_policy_is_refused_after_a_restart(state: StateFolder) -> None:
    old, new = (issue_policy(msgspec.structs.replace(POLICY, mode=mode), state) for mode in ("kill", "warn"))
    assert Acceptance(state, "agent").accept(old).mode == "kill"
    assert Acceptance(state, "agent").accept(new).mode == "warn"
    with pytest.raises(IntegrityError, match="is version 1, and 2 was in force already"):
        Acceptance(state, "agent").accept(old)
    # What one principal was given says nothing of another.
    assert Acceptance(state, "other").newest == 0


def test_two_runs_that_begin_together_both_get_their_policy(state: StateFolder) -> None:
    first, second = Acceptance(state, "agent"), Acceptance(state, "agent")
    one, two = (issue_policy(msgspec.structs.replace(POLICY, mode=mode), state) for mode in ("kill", "warn"))
    assert second.accept(two).version == 2
    assert first.accept(one).version == 1
    assert Acceptance(state, "agent").newest == 2


def test_damaged_memory_of_what_was_accepted_is_no_new_beginning(state: StateFolder) -> None:
    state.write("kernel-policy-accepted.json", b'{"agent": "x"}')
    with pytest.raises(IntegrityError, match="is damaged"):
        Acceptance(state, "agent")


def test_damaged_number_is_no_new_beginning(state: StateFolder) -> None:
    issue_policy(POLICY, state)
    state.write("kernel-policy.json", b"{}")
    with pytest.raises(IntegrityError, match="is damaged"):
        issue_policy(POLICY, state)
