"""Tokens of agents, and accounts of people."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentguard.audit import SegmentLog
from agentguard.identity import (
    AdminToken,
    People,
    StateFolder,
    TokenIssuer,
    TokenKeys,
    TokenVerifier,
    audit_keys,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentguard.assembly._project import Project
    from agentguard.core import AuditLog
    from agentguard.identity import Account


@dataclass(frozen=True, slots=True)
class Tokens:
    """What issues, verifies and revokes a project's tokens."""

    project: Project
    keys: TokenKeys
    issuer: TokenIssuer
    verifier: TokenVerifier
    admin: AdminToken

    def revoke(self, *, jti: str | None = None, principal: str | None = None) -> None:
        """Revoke one token, or all that were issued to or through a principal until now."""
        self.keys.revocations.revoke(jti=jti, principal=principal)


def open_tokens(project: Project, environ: Mapping[str, str] | None = None) -> Tokens:
    """Return what deals with the tokens of `project`, its keys made if there are none yet.

    Raises:
        ConfigError: the state folder cannot be used.
    """
    settings = project.config.identity
    state = StateFolder.open(project.config.project.id, os.environ if environ is None else environ)
    keys = TokenKeys(state, hs256=settings.hs256)
    return Tokens(
        project=project,
        keys=keys,
        issuer=TokenIssuer(keys, audience=settings.audience),
        verifier=TokenVerifier(keys, project.inventory.principals.get, audience=settings.audience),
        admin=AdminToken(state),
    )


def open_people(
    project: Project, environ: Mapping[str, str] | None = None, *, by: str = "", audit: AuditLog | None = None
) -> People:
    """Return the people of `project`; each change is recorded, as made by `by`, before it is made.

    It is recorded in `audit`, or in the project's log, opened for it.

    Raises:
        ConfigError: the state folder cannot be used.
    """
    state = StateFolder.open(project.config.project.id, os.environ if environ is None else environ)

    def note(change: str, account: Account) -> None:
        record = {
            "type": "people", "change": change, "person": account.name, "by": by, "roles": account.roles,
            "groups": account.groups, "disabled": account.is_disabled,
        }  # fmt: skip
        if audit is not None:
            audit.append(record)
            return
        log = SegmentLog(project.config.audit_folder, signer=audit_keys(state).signer())
        try:
            log.append(record)
        finally:
            log.close()

    return People(state, note=note)
