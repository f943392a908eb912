"""The signed kernel policy: what is enforced is what the project's key has signed, and never an older one."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agentguard.core import IntegrityError
from agentguard.kernel._rules import KernelPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentguard.core import Signer

_DOMAIN = b"agentguard-kernel-policy-v1\n"
_encoder = msgspec.json.Encoder(order="deterministic")


class SignedPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A kernel policy as it is carried: its JSON, and the Ed25519 signature over it in base64url."""

    policy: msgspec.Raw
    key_id: str
    signature: str


def sign_policy(policy: KernelPolicy, signer: Signer) -> SignedPolicy:
    """Return the policy, signed."""
    data = _encoder.encode(policy)
    signature = base64.urlsafe_b64encode(signer.sign(_message(data, signer.key_id)))
    return SignedPolicy(msgspec.Raw(data), signer.key_id, signature.decode().rstrip("="))


def verify_policy(signed: SignedPolicy, public_keys: Mapping[str, bytes], *, newest: int) -> KernelPolicy:
    """Return the policy if one of these keys (id to 32 raw bytes) signed it, and it is not older than `newest`.

    Raises:
        IntegrityError: it is not to be enforced (`kernel_policy_refused`).
    """
    data = bytes(signed.policy)
    key = public_keys.get(signed.key_id)
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
    if policy.version < newest:
        raise _refused(f"is version {policy.version}, and {newest} was in force already")
    return policy


def content_of(policy: KernelPolicy) -> bytes:
    """Return what a policy says, whatever its version: equal for policies that differ in nothing else."""
    return _encoder.encode(msgspec.structs.replace(policy, version=0))


def _message(data: bytes, key_id: str) -> bytes:
    return _DOMAIN + key_id.encode() + b"\n" + data


def _refused(why: str) -> IntegrityError:
    return IntegrityError(
        f"the kernel policy {why}", code="kernel_policy_refused", hint="have the sidecar sign it again"
    )
