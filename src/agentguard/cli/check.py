"""`agentguard check`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from agentguard.cli._exit import of_effect
from agentguard.cli._options import Asked, nearest_action, output_options, project_option, request_options
from agentguard.cli._output import Output, effect_text, plain, to_json
from agentguard.cli._why import show_concerns, show_findings
from agentguard.core import Decision, Effect

if TYPE_CHECKING:
    from pathlib import Path

    from agentguard.assembly import Project
    from agentguard.policy import Concern

SHOWN_MISSES = 3


@click.command("check", short_help="Decide one request, on record.")
@request_options
@click.option("--trace", is_flag=True, help="Show every rule about the action that did not apply, and why.")
@click.option(
    "--ticket-for", metavar="EXECUTOR", default="", help="Ask for an execution ticket for EXECUTOR."
)
@click.option(
    "--approval", metavar="ID", default="", help="Use up the approval ID, which was for the same request."
)
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0, 30 * 86_400),
    default=0.0,
    metavar="SECONDS",
    help="Wait so long for people where the action needs their approval.",
)
@project_option
@output_options
def command(
    *,
    asked: Asked,
    trace: bool,
    ticket_for: str,
    approval: str,
    wait_s: float,
    folder: Path,
    output: Output,
) -> int:
    r"""Decide whether PRINCIPAL may do ACTION on RESOURCE, and record it.

    The exit code is the effect: 0 allow, 10 deny, 11 require_approval, 12 transform. After a transform run what
    is printed, not what you asked for. After a require_approval the id of the approval is printed: see `agentguard
    approvals`, and ask again with --approval when it is given.

    \b
    Examples:
      agentguard check restart-deployment -r staging/api -P namespace=staging -P deployment=api
      agentguard check file.read -r file:/etc/shadow -P path=/etc/shadow --trace
    """
    from agentguard.assembly import Engine, load_project
    from agentguard.enforcement import Hold
    from agentguard.pdp import concerns_of

    project = load_project(folder)
    request = msgspec.structs.replace(asked.request(project), ticket_for=ticket_for, approval=approval)
    engine = Engine(project)
    try:
        # Near misses explain a denial, so they are always looked for here.
        decision = engine.pdp.decide(request, trace=True)
        if wait_s:
            decision = Hold(engine.pdp, timeout_s=wait_s).wait(request, decision)
    finally:
        engine.close()
    about = concerns_of(engine.pdp.world, request) if trace else ()
    output.result(decision, lambda: _show(decision, project, about, trace=trace))
    return of_effect(decision.effect)


def _show(decision: Decision, project: Project, about: tuple[Concern, ...], *, trace: bool) -> None:
    click.echo(f"{effect_text(decision.effect)}  {plain(decision.action)} on {plain(decision.resource)}")
    click.echo(f"  {plain(decision.reason)}")
    show_findings(decision)
    for line in _facts(decision):
        click.echo(click.style(f"  {plain(line)}", dim=True))
    if decision.effect is Effect.TRANSFORM:
        click.echo("  run instead:")
        click.echo(to_json({"action": decision.action, "params": decision.params}))
    if trace or decision.stage == "default":
        _show_misses(decision, trace=trace)
        if trace:
            show_concerns(about)
    elif decision.stage == "request" and project.registry.resolve(decision.action) is None:
        near = nearest_action(project.registry, decision.action)
        meant = f"did you mean `{near}`? " if near else ""
        click.echo(f"  hint: {meant}`agentguard actions list` shows what is declared")


def _show_misses(decision: Decision, *, trace: bool) -> None:
    misses = decision.near_misses
    if misses:
        shown = misses if trace else misses[:SHOWN_MISSES]
        click.echo("  rules that did not apply, closest first:")
        for miss in shown:
            click.echo(f"    {plain(miss.rule)} ({miss.effect}): {plain(miss.predicate)}")
        if len(shown) < len(misses):
            click.echo(f"    and {len(misses) - len(shown)} more; see them with --trace")
    elif decision.rule is None and decision.stage == "default":
        click.echo("  no rule speaks of this action; what no rule allows is denied")
        click.echo("  hint: add a rule, then try it with `agentguard policy explain`")
    else:
        click.echo("  no other rule speaks of this action")


def _facts(decision: Decision) -> list[str]:
    facts: list[Any] = [f"rule {decision.rule}" if decision.rule else None, f"stage {decision.stage}"]
    if decision.risk is not None:
        facts.append(f"risk {decision.risk.score} of 16")
    facts.append(f"{decision.latency_us:.0f} µs")
    lines = [", ".join(each for each in facts if each)]
    if decision.obligations:
        lines.append(
            "obligations: " + ", ".join(f"{each.name}={each.value}" for each in decision.obligations)
        )
    if decision.prechecks and decision.effect is not Effect.DENY:
        lines.append("check first: " + "; ".join(decision.prechecks))
    if decision.required_privileges and decision.effect is not Effect.DENY:
        lines.append("needs: " + ", ".join(decision.required_privileges))
    if decision.audit_id:
        lines.append(f"record {decision.audit_id}, policy {decision.policy_version[:19]}")
    if decision.approval:
        lines.append(f"approval {decision.approval}")
    if decision.ticket:
        lines.append(f"ticket {decision.ticket}")
    return lines
