"""What an approval is bound to, as a hash."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentguard.core import canonical_hash

if TYPE_CHECKING:
    from collections.abc import Sequence


def bind(
    *,
    principal: str,
    on_behalf_of: Sequence[str],
    action: str,
    resource: str,
    params: Any,
    policy_version: str,
) -> str:
    """Return the hash of all that an approval is for, over its canonical JSON (RFC 8785).

    Secrets among `params` stand there as commitments: from a hash of them short ones could be guessed.

    Raises:
        RequestError: `params` have no canonical form (`params_invalid`).
    """
    return canonical_hash(
        {
            "principal": principal,
            "on_behalf_of": list(on_behalf_of),
            "action": action,
            "resource": resource,
            "params": params,
            "policy_version": policy_version,
        }
    )
