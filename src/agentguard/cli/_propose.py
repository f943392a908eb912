"""What `agentguard run --learn` writes: files that are proposals until somebody moves them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from agentguard.cli._output import counted, plain
from agentguard.core import ConfigError, Effect, Location, Request

if TYPE_CHECKING:
    from agentguard.assembly import Project
    from agentguard.cli._output import Output
    from agentguard.core import Principal
    from agentguard.kernel import Judge, Proposal

FOLDER = "learned"
SHOWN = 10


def write_proposal(
    judge: Judge, *, project: Project | None, principal: Principal, run: str, output: Output
) -> None:
    """Write the proposal, and say what it would not allow all the same.

    Raises:
        ConfigError: the files cannot be written.
    """
    from agentguard.kernel import propose

    proposal = propose(judge.wishes.values(), principal=principal.id, run=run)
    folder = (project.config.folder if project is not None else Path.cwd()) / FOLDER / run
    try:
        (folder / "policies").mkdir(parents=True)
        (folder / "policies" / "learned.yaml").write_text(proposal.rules, encoding="utf-8")
        (folder / "inventory.yaml").write_text(proposal.inventory, encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"cannot be written: {reason}", location=Location(str(folder))) from None
    if output.as_json or output.quiet:
        return
    click.echo(f"\nproposed policy in {plain(str(folder))}", err=True)
    click.echo(
        "  put learned.yaml among your policies and the entries into your inventory, once you have read them",
        err=True,
    )
    if proposal.allowed_hosts:
        hosts = ", ".join(plain(each) for each in proposal.allowed_hosts)
        click.echo(f"  hosts for `facts.allowed_hosts`: {hosts}", err=True)
    for each in proposal.skipped[:SHOWN]:
        click.echo(f"  in no rule: {plain(each)}", err=True)
    if project is not None:
        _show_rest(not_allowed(judge, proposal, folder, project, principal))


def _show_rest(rest: list[str]) -> None:
    if rest:
        click.echo(f"  {counted(len(rest), 'thing')} would still not be allowed:", err=True)
        for each in rest[:SHOWN]:
            click.echo(f"    {plain(each)}", err=True)
        if len(rest) > SHOWN:
            click.echo(f"    and {len(rest) - SHOWN} more", err=True)


def not_allowed(
    judge: Judge, proposal: Proposal, folder: Path, project: Project, principal: Principal
) -> list[str]:
    """Return what the proposal would not allow, beside the rules that no rule overrides, and why."""
    from agentguard.facts import FactExtractor, FactSettings
    from agentguard.pdp import PolicyDecisionPoint
    from agentguard.policy import PolicySet, load_policies
    from agentguard.registry import Inventory, load_inventory

    learned = load_policies([folder / "policies" / "learned.yaml"])
    entries = load_inventory([folder / "inventory.yaml"])
    known = {each.id for each in project.inventory.resources}
    inventory = Inventory.build(
        [*project.inventory.resources, *(each for each in entries.resources if each.id not in known)],
        project.inventory.principals.values(),
    )
    current = project.policies.current
    settings = project.config.facts
    facts = FactExtractor(
        FactSettings((*settings.allowed_hosts, *proposal.allowed_hosts), settings.mail_domains)
    )
    world = msgspec.structs.replace(
        project.world(PolicySet([*current.rules, *learned.rules])), inventory=inventory, facts=facts
    )
    pdp = PolicyDecisionPoint(world)
    found = []
    for wish, _ in judge.wishes.values():
        decision = pdp.decide(Request(principal, wish.action, wish.resource, wish.params))
        if decision.effect is not Effect.ALLOW:
            found.append(f"{wish.action} on {wish.resource}: {decision.reason}")
    return found
