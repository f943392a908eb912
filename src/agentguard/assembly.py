"""The only place where configuration becomes objects.

Enters: a project folder and the environment. Leaves: a `Project` (what it declares), an `Engine` (a decision
point that records), the sidecar's `Services`. Called by: the SDK's face, the command line. It holds no logic of
its own: it reads, builds and wires.
"""

from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agentguard.audit import Commitments, SegmentLog, verify
from agentguard.config import FILE_NAME, Config, load_config
from agentguard.core import Clock, ConfigError, Location, Principal, SystemClock
from agentguard.documents import find_documents
from agentguard.facts import FactExtractor, FactSettings
from agentguard.identity import (
    AdminToken,
    StateFolder,
    TokenIssuer,
    TokenKeys,
    TokenVerifier,
    audit_keys,
    commitment_key,
)
from agentguard.pdp import Keeper, PolicyDecisionPoint, RiskPolicy, Thresholds, World, lint_policies
from agentguard.policy import LintFinding, LintKind, PolicySet, PolicyStore, PolicyWatcher, shipped_rules
from agentguard.registry import ActionRegistry, Inventory, load_actions, load_inventory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agentguard.audit import Verification
    from agentguard.core import EventStore

_log = logging.getLogger("agentguard.policy")


@dataclass(frozen=True, slots=True)
class Project:
    """What a project folder declares, read and checked; holds no secret and writes nothing."""

    config: Config
    registry: ActionRegistry
    inventory: Inventory
    policies: PolicyStore
    facts: FactExtractor

    def world(self, policies: PolicySet | None = None) -> World:
        """Return what decisions depend on, with the policy set in force or another one."""
        return World(
            registry=self.registry,
            inventory=self.inventory,
            policies=policies or self.policies.current,
            risk=_risk(self.config),
            facts=self.facts,
        )

    def lint(self, policies: PolicySet | None = None) -> list[LintFinding]:
        """Return what is wrong, or probably not meant, in the policy set in force or another one."""
        now = SystemClock().now()
        return lint_policies(policies or self.policies.current, self.registry, self.inventory, now=now)

    def principal(self, principal_id: str) -> Principal:
        """Return the listed principal, or an agent without roles where the inventory does not know it."""
        return self.inventory.principals.get(principal_id, Principal(id=principal_id))


def load_project(folder: Path | str, environ: Mapping[str, str] | None = None) -> Project:
    """Return what the project in `folder` declares.

    Raises:
        ConfigError: something in the folder cannot be read or used; says what, where and how to mend it.
    """
    config = load_config(Path(folder), os.environ if environ is None else environ)
    registry = load_actions(_documents(config.actions_folder), catalogue=config.registry.catalogue)
    inventory = load_inventory([config.inventory_file])

    def refuse_conflicts(policies: PolicySet) -> None:
        now = SystemClock().now()
        findings = lint_policies(policies, registry, inventory, now=now)
        conflict = next((each for each in findings if each.kind is LintKind.CONFLICT), None)
        if conflict is not None:
            raise ConfigError(
                f"rule `{conflict.rule}` {conflict.message}",
                code="policy_conflict",
                location=conflict.location,
                hint="`policy.strict` refuses conflicts; see `agentguard policy validate`",
            )

    policies = PolicyStore(
        config.policy_folder,
        base=config.folder,
        check=refuse_conflicts if config.policy.strict else None,
        shipped=shipped_rules(without=config.policy.without) if config.policy.shipped else (),
    )
    return Project(config, registry, inventory, policies, _facts(config))


DEFAULT_PROJECT = "default"
_DEFAULT_FILES = {
    "inventory.yaml": "resources: []\nprincipals: []\n",
    FILE_NAME: f"project: {{id: {DEFAULT_PROJECT}, name: default}}\n",
}


def default_project(environ: Mapping[str, str] | None = None) -> Project:
    """Return the project of whoever named none: `project` in the state folder `default`, made if it is not there.

    It has no rules of its own, so only sessions with an intent allow anything. Its audit log is in its `audit`.

    Raises:
        ConfigError: it cannot be made, or something in it cannot be used.
    """
    state = StateFolder.open(DEFAULT_PROJECT, os.environ if environ is None else environ)
    folder = state.path / "project"
    try:
        (folder / "policies").mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, text in _DEFAULT_FILES.items():
            with contextlib.suppress(FileExistsError), (folder / name).open("x", encoding="utf-8") as stream:
                stream.write(text)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(
            f"the default project cannot be made: {reason}",
            code="state_unavailable",
            location=Location(str(folder)),
        ) from None
    return load_project(folder, environ)


def _facts(config: Config) -> FactExtractor:
    settings = config.facts
    try:
        return FactExtractor(FactSettings(settings.allowed_hosts, settings.mail_domains))
    except ValueError as error:
        where = Location(FILE_NAME, field="facts.allowed_hosts")
        raise ConfigError(str(error), location=where, hint="write `example.com` or `10.0.0.0/8`") from None


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


class Engine:
    """A decision point of a project that records what it decides, and follows its policy files.

    With `keeps_sessions` what it remembers of sessions outlives it, as the sidecar's does.

    Raises:
        ConfigError: the state folder cannot be used.
        AuditError: the audit log cannot be opened.
    """

    def __init__(
        self,
        project: Project,
        *,
        environ: Mapping[str, str] | None = None,
        clock: Clock | None = None,
        keeps_sessions: bool = False,
    ) -> None:
        config = project.config
        self.project = project
        self.state = StateFolder.open(config.project.id, os.environ if environ is None else environ)
        self.audit_keys = audit_keys(self.state)
        self.audit = SegmentLog(
            config.audit_folder,
            durability=config.audit.durability,
            signer=self.audit_keys.signer(),
            max_segment_bytes=config.audit.max_segment_bytes,
            reserve_bytes=config.audit.reserve_bytes,
        )
        self._keeper = Keeper(self.state.path) if keeps_sessions else None
        self.pdp = PolicyDecisionPoint(
            project.world(),
            audit=self.audit,
            commit=Commitments(commitment_key(self.state)).commit,
            clock=clock,
            history=self._keeper.history if self._keeper else None,
            flow=self._keeper.flow if self._keeper else None,
        )
        self._watcher = PolicyWatcher(project.policies, self._adopt)

    def _adopt(self, policies: PolicySet) -> None:
        # One assignment: a decision in progress keeps the world that it began with.
        self.pdp.world = msgspec.structs.replace(self.pdp.world, policies=policies)
        findings = self.project.lint(policies)
        if findings:
            _log.warning("findings in the new policy: %d; see `agentguard policy validate`", len(findings))

    def close(self) -> None:
        """Stop following files, deny from now on, flush the log and sign its head. Idempotent."""
        self._watcher.stop()
        self.pdp.close()
        if self._keeper is not None:
            self._keeper.close()


class Events:
    """A project's events: what is published on `bus` is written to `store`.

    Raises:
        EventError: the store cannot be opened.
    """

    def __init__(self, config: Config) -> None:
        # A cold `check` needs none of this.
        from agentguard.backends import SqliteEventStore
        from agentguard.events import EventRecorder, InProcessBus, Retention

        self.bus = InProcessBus()
        self.store = SqliteEventStore(config.events_file)
        keep = Retention(config.events.retention_days, config.events.max_events)
        self.recorder = EventRecorder(self.bus, self.store, keep)

    def close(self) -> int:
        """Write what was published; return how many events could not be written. Idempotent."""
        lost = self.recorder.close()
        self.store.close()
        return lost


def read_events(config: Config) -> EventStore | None:
    """Return the project's event store, to be closed; None if nothing was ever stored.

    Raises:
        EventError: the store cannot be opened.
    """
    from agentguard.backends import SqliteEventStore

    return SqliteEventStore(config.events_file) if config.events_file.exists() else None


def verify_audit(
    config: Config,
    environ: Mapping[str, str] | None = None,
    *,
    path: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Verification:
    """Return what the project's audit log, or the one at `path`, proves; heads by the project's own keys.

    Raises:
        ConfigError: the state folder cannot be used, or there is no log.
    """
    state = StateFolder.open(config.project.id, os.environ if environ is None else environ)
    keys = audit_keys(state).public_keys()
    return verify(path or config.audit_folder, public_keys=keys, progress=progress)


def _risk(config: Config) -> RiskPolicy:
    risk = config.risk
    return RiskPolicy(
        default=Thresholds(risk.approval_from, risk.deny_from),
        environments={
            name: Thresholds(own.approval_from, own.deny_from) for name, own in risk.environments.items()
        },
    )


def _documents(folder: Path) -> list[Path]:
    return find_documents(folder) if folder.is_dir() else []
