"""The signed kernel policy: what is enforced is what the project's key has signed, and never an older one.

The sidecar issues it; who enforces it verifies it.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agentguard.core import IntegrityError
from agentguard.identity import kernel_keys
from agentguard.kernel._rules import KernelPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentguard.core import Signer
    from agentguard.identity import StateFolder

_DOMAIN = b"agentguard-kernel-policy-v1\n"
_VERSION_FILE = "kernel-policy.json"
_ACCEPTED_FILE = "kernel-policy-accepted.json"
_NO_NEW_BEGINNING = "restore it; without it an older policy could pass for the newest"
_encoder = msgspec.json.Encoder(order="deterministic")


class SignedPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A kernel policy as it is carried: its JSON, and the Ed25519 signature over it in base64url."""

    policy: msgspec.Raw
    key_id: str
    signature: str


class _Last(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last policy that was signed: its number, and the digest of what it says."""

    version: int
    digest: str


def sign_policy(policy: KernelPolicy, signer: Signer) -> SignedPolicy:
    """Return the policy, signed."""
    data = _encoder.encode(policy)
    signature = base64.urlsafe_b64encode(signer.sign(_message(data, signer.key_id)))
    return SignedPolicy(msgspec.Raw(data), signer.key_id, signature.decode().rstrip("="))


def verify_policy(
    signed: SignedPolicy, public_keys: Mapping[str, bytes], *, newest: int, principal: str
) -> KernelPolicy:
    """Return the policy if one of these keys (id to 32 raw bytes) signed it for `principal`, and it is not older than `newest`.

    Raises:
        IntegrityError: it is not to be enforced (`kernel_policy_refused`).
    """
    data = bytes(signed.policy)
    key = public_keys.get(signed.key_id)
    if not signed.signature:
        raise _refused("is not signed")
    if key is None:
        raise _refused("is signed by a key that is not the project's")
    try:
        signature = base64.b64decode(signed.signature + "==", altchars=b"-_", validate=True)
        Ed25519PublicKey.from_public_bytes(key).verify(signature, _message(data, signed.key_id))
    except (InvalidSignature, ValueError):
        raise _refused("has a signature that is not of its content") from None
    try:
        policy = msgspec.json.decode(data, type=KernelPolicy)
    except msgspec.DecodeError as error:
        raise _refused(f"cannot be read: {error}") from None
    if policy.principal != principal:
        raise _refused(f"is for `{policy.principal}`, and not for `{principal}`")
    if policy.version < newest:
        raise _refused(f"is version {policy.version}, and {newest} was in force already")
    return policy


def issue_policy(policy: KernelPolicy, state: StateFolder) -> SignedPolicy:
    """Return the policy, numbered, and signed by the project's key.

    Its version is that of the last one that was signed if it says the same, else the next.

    Raises:
        ConfigError: the state folder cannot be used.
        IntegrityError: the number of the last version is damaged, or the key file is.
    """
    signer = kernel_keys(state).signer()
    digest = hashlib.sha256(content_of(policy)).hexdigest()
    with state.locked(_VERSION_FILE):
        newest, known = _last_version(state)
        version = newest if digest == known else newest + 1
        if version != newest:
            # INVARIANT: before anybody can have it, or a number could be given twice.
            state.write(_VERSION_FILE, msgspec.json.encode(_Last(version, digest)))
    return sign_policy(msgspec.structs.replace(policy, version=version), signer)


def _last_version(state: StateFolder) -> tuple[int, str]:
    try:
        last = msgspec.json.decode(state.read(_VERSION_FILE), type=_Last)
    except FileNotFoundError:
        return 0, ""
    except msgspec.DecodeError:
        raise state.corrupt(_VERSION_FILE, _NO_NEW_BEGINNING) from None
    return last.version, last.digest


class Acceptance:
    """Takes policies for one principal into force, and remembers across restarts which was the newest.

    Make it before a policy is asked for: what was in force by then, no answer may undercut.

    Raises:
        ConfigError: the state folder cannot be used.
        IntegrityError: what it remembers is damaged.
    """

    def __init__(self, state: StateFolder, principal: str) -> None:
        self._state, self._principal = state, principal
        self.newest = self._known().get(principal, 0)

    def accept(self, signed: SignedPolicy) -> KernelPolicy:
        """Return the policy as it may be enforced; that it was is on the disk by then.

        Raises:
            ConfigError: the state folder cannot be used.
            IntegrityError: it is not to be enforced (`kernel_policy_refused`), or the key file is damaged.
        """
        keys = kernel_keys(self._state).public_keys()
        policy = verify_policy(signed, keys, newest=self.newest, principal=self._principal)
        with self._state.locked(_ACCEPTED_FILE):
            known = self._known()
            # Two runs that begin together may come here in either order.
            if policy.version > known.get(self._principal, 0):
                known[self._principal] = policy.version
                self._state.write(_ACCEPTED_FILE, msgspec.json.encode(known))
        return policy

    def _known(self) -> dict[str, int]:
        try:
            return msgspec.json.decode(self._state.read(_ACCEPTED_FILE), type=dict[str, int])
        except FileNotFoundError:
            return {}
        except msgspec.DecodeError:
            raise self._state.corrupt(_ACCEPTED_FILE, _NO_NEW_BEGINNING) from None


def content_of(policy: KernelPolicy) -> bytes:
    """Return what a policy says, whatever its version: equal for policies that differ in nothing else."""
    return _encoder.encode(msgspec.structs.replace(policy, version=0))


def _message(data: bytes, key_id: str) -> bytes:
    return _DOMAIN + key_id.encode() + b"\n" + data


def _refused(why: str) -> IntegrityError:
    return IntegrityError(
        f"the kernel policy {why}", code="kernel_policy_refused", hint="have the sidecar sign it again"
    )
