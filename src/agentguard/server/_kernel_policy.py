"""`/v1/kernel-policy`: the kernel policy of a run, for launchers that may act for its principal."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import AgentGuardError, KernelError
from agentguard.server._http import HttpError, parse_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentguard.core import Principal
    from agentguard.identity import VerifiedToken
    from agentguard.server._http import Headers
    from agentguard.server._services import Services


class _Identity(msgspec.Struct):
    version: int
    policy_version: str


class KernelPolicyRoute:
    """Has a policy compiled and signed, and records it. An agent's own token does not do: it could allow itself anything."""

    def __init__(
        self,
        services: Services,
        authenticate: Callable[[Headers], VerifiedToken],
        principal_of: Callable[[VerifiedToken, str | None], Principal],
    ) -> None:
        self._services, self._authenticate, self._principal_of = services, authenticate, principal_of

    async def issue(self, headers: Headers, body: bytes) -> bytes:
        """Return the signed policy."""
        token = self._authenticate(headers)
        if not token.act_as:
            raise HttpError(
                403,
                "kernel_policy_not_vouched",
                "this token may not have a kernel policy signed",
                hint="it takes one with `act_as`, as a launcher has",
            )
        return await asyncio.to_thread(self._issue, token, body)

    def _issue(self, token: VerifiedToken, body: bytes) -> bytes:
        sign = self._services.sign_kernel_policy
        if sign is None:
            raise HttpError(503, "kernel_policy_missing", "this server signs no kernel policies")
        # What it takes is in an extra, and loads slowly.
        from agentguard.kernel.jail import PolicyOrder

        order = parse_json(body, msgspec.json.Decoder(PolicyOrder))
        principal = self._principal_of(token, order.principal)
        try:
            issued = sign(principal, order)
            said = msgspec.json.decode(bytes(issued.signed.policy), type=_Identity)
            self._services.audit.append(
                {
                    "type": "kernel_policy", "phase": "signed", "principal": principal.id, "mode": order.mode,
                    "kernel_policy": said.version, "policy_version": said.policy_version,
                    "key_id": issued.signed.key_id,
                }
            )  # fmt: skip
        except KernelError as error:
            raise HttpError(409, error.code, error.message, hint=error.hint) from None
        except AgentGuardError as error:
            raise HttpError(503, error.code, error.message, hint=error.hint) from None
        return msgspec.json.encode(issued)
