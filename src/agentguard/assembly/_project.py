"""What a project folder declares, read and checked."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agentguard.config import FILE_NAME, Config, load_config
from agentguard.core import (
    ConfigError,
    Location,
    Principal,
    SystemClock,
)
from agentguard.documents import find_documents
from agentguard.facts import FactExtractor, FactSettings
from agentguard.identity import (
    StateFolder,
)
from agentguard.pdp import (
    RiskPolicy,
    Thresholds,
    World,
    lint_policies,
)
from agentguard.policy import LintFinding, LintKind, PolicySet, PolicyStore, shipped_rules
from agentguard.registry import ActionRegistry, Inventory, load_actions, load_inventory

if TYPE_CHECKING:
    from collections.abc import Mapping


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
