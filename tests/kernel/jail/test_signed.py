from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from agentguard.core import IntegrityError
from agentguard.identity import KeyRing, StateFolder, kernel_keys
from agentguard.kernel._rules import KernelPolicy, PathRule
from agentguard.kernel.jail import SignedPolicy, content_of, issue_policy, sign_policy, verify_policy

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
    assert verify_policy(carried, keys.public_keys(), newest=7) == POLICY


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"policy": msgspec.Raw(content_of(POLICY))}, "signature"),
        ({"signature": "AAAA"}, "signature"),
        ({"signature": "?"}, "signature"),
        ({"key_id": "another"}, "key that is not the project's"),
    ],
)
def test_policy_that_was_changed_is_refused(keys: KeyRing, change: dict[str, Any], why: str) -> None:
    signed = msgspec.structs.replace(sign_policy(POLICY, keys.signer()), **change)
    with pytest.raises(IntegrityError, match=why) as caught:
        verify_policy(signed, keys.public_keys(), newest=0)
    assert caught.value.code == "kernel_policy_refused"


def test_older_policy_is_refused_though_it_is_signed(keys: KeyRing) -> None:
    signed = sign_policy(POLICY, keys.signer())
    with pytest.raises(IntegrityError, match="version 7, and 8"):
        verify_policy(signed, keys.public_keys(), newest=8)


def test_signed_text_that_is_no_policy_is_refused(keys: KeyRing) -> None:
    import base64

    signer = keys.signer()
    data = b'{"version":"x"}'
    message = b"agentguard-kernel-policy-v1\n" + signer.key_id.encode() + b"\n" + data
    text = base64.urlsafe_b64encode(signer.sign(message)).decode().rstrip("=")
    with pytest.raises(IntegrityError, match="cannot be read"):
        verify_policy(SignedPolicy(msgspec.Raw(data), signer.key_id, text), keys.public_keys(), newest=0)


def test_what_a_policy_says_does_not_depend_on_its_number() -> None:
    assert content_of(POLICY) == content_of(msgspec.structs.replace(POLICY, version=8))
    assert content_of(POLICY) != content_of(msgspec.structs.replace(POLICY, mode="kill"))


def test_number_grows_when_the_policy_says_something_else(state: StateFolder) -> None:
    other = msgspec.structs.replace(POLICY, mode="kill")
    numbers = [issue_policy(each, state).version for each in (POLICY, POLICY, other, POLICY)]
    assert numbers == [1, 1, 2, 3]


def test_damaged_number_is_no_new_beginning(state: StateFolder) -> None:
    issue_policy(POLICY, state)
    state.write("kernel-policy.json", b"{}")
    with pytest.raises(IntegrityError, match="is damaged"):
        issue_policy(POLICY, state)
