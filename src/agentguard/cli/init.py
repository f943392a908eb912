"""`agentguard init`."""

from __future__ import annotations

import re
import secrets
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentguard.cli._options import output_options
from agentguard.cli._output import plain
from agentguard.config import FILE_NAME
from agentguard.core import ConfigError, Location

if TYPE_CHECKING:
    from agentguard.cli._output import Output

_CONFIG = """\
# Settings of this project. Every setting, its default and its meaning: docs/configuration.md.
# AGENTGUARD_<SECTION>_<KEY> in the environment goes before what stands here.
project:
  id: {id}          # names the state folder, where keys and tokens are; never in this folder
  name: {name}
"""

_POLICIES = """\
# Rules: lists mean "any of", keys mean "and", the most specific rule wins, nothing said is denied.
# See what they mean with `agentguard policy validate`, try them with `agentguard policy test`.
version: 1
rules:
  - id: staging-is-free
    effect: allow
    principals: [{role: deployer}]
    actions: [restart-deployment, scale-deployment, rollout-status]
    resources: [{environment: staging}]
    owner: platform
    reason: Deploy agents work in staging

  - id: staging-is-small
    effect: transform
    principals: [{role: deployer}]
    actions: [scale-deployment]
    resources: [{environment: staging}]
    when: {params: {replicas: {min: 6}}}
    transform: [{op: clamp, path: /replicas, max: 5}]
    owner: platform
    reason: Staging has room for five replicas

  - id: prod-can-be-looked-at
    effect: allow
    principals: [{role: deployer}]
    actions: [rollout-status]
    resources: [{environment: prod}]
    owner: platform
    reason: Looking at production is allowed

  - id: prod-needs-approval
    effect: require_approval
    principals: [{role: deployer}]
    actions: [restart-deployment, scale-deployment]
    resources: [{environment: prod}]
    owner: platform
    reason: Production actions need a person
"""

_INVENTORY = """\
# What there is, and how much it matters; what is not listed counts as critical and is denied unless a rule
# names it. Ids may be patterns: `*` stays within a segment, `**` crosses.
resources:
  - {id: staging/api, type: deployment, environment: staging, sensitivity: internal, owner: platform}
  - {id: prod/api, type: deployment, environment: prod, sensitivity: restricted, owner: platform}

principals:
  - {id: deploy-agent, kind: agent, roles: [deployer]}
"""

_ACTIONS = """\
# Actions of your own, besides the shipped catalogue (`agentguard actions list`).
# How to write one: docs/actions.md.
actions: []
"""

_TESTS = """\
# Requests, and the decisions that they must get: `agentguard policy test`.
cases:
  - name: a deploy agent restarts what is in staging
    request: {principal: deploy-agent, action: restart-deployment, resource: staging/api, params: {namespace: staging, deployment: api}}
    expect: {effect: allow, rule: staging-is-free}
  - name: too many replicas in staging become five
    request: {principal: deploy-agent, action: scale-deployment, resource: staging/api, params: {namespace: staging, deployment: api, replicas: 50}}
    expect: {effect: transform, rule: staging-is-small, params: {namespace: staging, deployment: api, replicas: 5}}
  - name: production asks a person
    request: {principal: deploy-agent, action: restart-deployment, resource: prod/api, params: {namespace: prod, deployment: api}}
    expect: {effect: require_approval, rule: prod-needs-approval}
  - name: nothing says that a deployment may be deleted
    request: {principal: deploy-agent, action: delete-deployment, resource: staging/api, params: {namespace: staging, deployment: api}}
    expect: {effect: deny, rule: none}
"""

_IGNORE = """\
# The audit log is evidence, not source; events are what was seen beside it, approvals what people were asked.
audit/
events/
approvals/
"""


@click.command("init", short_help="Make a project folder: configuration, policies, inventory.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path())
@output_options
def command(folder: Path, output: Output) -> None:
    """Make a project in FOLDER (default: here).

    It declares a principal `deploy-agent` that may restart and scale `staging/api` and has to ask for `prod/api`.
    Files that are there already are left alone; an existing agentguard.yaml is an error.
    """
    if (folder / FILE_NAME).exists():
        raise ConfigError(
            "there is a project here already",
            code="project_exists",
            location=Location(str(folder / FILE_NAME)),
            hint="see how it is with `agentguard doctor`, or name another folder",
        )
    name = folder.resolve().name or "project"
    files = {
        "policies/deploy.yaml": _POLICIES,
        "actions/actions.yaml": _ACTIONS,
        "inventory.yaml": _INVENTORY,
        "tests/deploy.yaml": _TESTS,
        ".gitignore": _IGNORE,
        # Last, since it is what makes the folder a project.
        FILE_NAME: _CONFIG.format(id=_project_id(name), name=_quoted(name)),
    }
    written = [path for path, text in files.items() if _write(folder / path, text)]
    output.result({"folder": str(folder), "written": written}, lambda: _show(folder, written))


def _project_id(name: str) -> str:
    """Return an id that is unique on this machine: the name as far as it goes, and some random characters."""
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40]
    return f"{words or 'project'}-{secrets.token_hex(3)}"


def _quoted(name: str) -> str:
    return '"' + "".join(char for char in name if char.isprintable() and char not in '"\\')[:200] + '"'


def _write(path: Path, text: str) -> bool:
    """Write a new file; leave one that is there alone."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        if path.is_file():
            return False
        raise ConfigError("is in the way", location=Location(str(path)), hint="move it away") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"cannot be written: {reason}", location=Location(str(path))) from None
    return True


def _show(folder: Path, written: list[str]) -> None:
    click.echo(f"made a project in {plain(str(folder.resolve()))}:")
    for path in written:
        click.echo(f"  {path}")
    click.echo("next, try:")
    if folder.resolve() != Path.cwd():
        click.echo(f"  cd {plain(shlex.quote(str(folder)))}")
    click.echo("  agentguard check restart-deployment -r staging/api -P namespace=staging -P deployment=api")
    click.echo("  agentguard check restart-deployment -r prod/api -P namespace=prod -P deployment=api")
    click.echo("  agentguard audit verify")
    click.echo("  agentguard up")
