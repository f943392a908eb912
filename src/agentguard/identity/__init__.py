"""Who acts: tokens, the keys behind them, what is revoked, people's accounts, and where a project's secrets live.

Enters: a token (hostile text), and what the inventory says of a principal. Leaves: a `VerifiedToken`, or an
`IdentityError` whose code says why not. Called by: the sidecar, the command line and assembly. It must never put
a token or a key into a message, trust a header about its key, or accept a token when it cannot know what was
revoked.
"""

from agentguard.identity._admin import AdminToken, LoginCodes
from agentguard.identity._issuer import TokenIssuer
from agentguard.identity._keys import (
    Ed25519Signer,
    KeyRing,
    TokenKeys,
    audit_keys,
    commitment_key,
    kernel_keys,
    link_key,
)
from agentguard.identity._limits import LEEWAY_S, MAX_TTL_S
from agentguard.identity._people import Account, People
from agentguard.identity._report import StateReport, report_state
from agentguard.identity._revocations import Revocations
from agentguard.identity._state import StateFolder, state_path
from agentguard.identity._ticket_keys import MAX_TICKET_TTL_S, TicketKeys
from agentguard.identity._verifier import Directory, TokenVerifier, VerifiedToken

__all__ = [
    "LEEWAY_S",
    "MAX_TICKET_TTL_S",
    "MAX_TTL_S",
    "Account",
    "AdminToken",
    "Directory",
    "Ed25519Signer",
    "KeyRing",
    "LoginCodes",
    "People",
    "Revocations",
    "StateFolder",
    "StateReport",
    "TicketKeys",
    "TokenIssuer",
    "TokenKeys",
    "TokenVerifier",
    "VerifiedToken",
    "audit_keys",
    "commitment_key",
    "kernel_keys",
    "link_key",
    "report_state",
    "state_path",
]
