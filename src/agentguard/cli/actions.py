"""`agentguard actions`: list, show, import, sign, verify."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from agentguard.cli._actions_import import command as import_command
from agentguard.cli._exit import ExitCode
from agentguard.cli._options import environ, nearest_action, output_options, project_option
from agentguard.cli._output import Output, plain, table, to_json

if TYPE_CHECKING:
    from pathlib import Path

    from agentguard.core import Action


@click.group("actions", short_help="Show, import and verify the declared actions.")
def command() -> None:
    """Show the declared actions; import tools as actions; verify the files."""


command.add_command(import_command)


@command.command("list")
@click.option("--tag", help="Only actions with this tag.")
@click.option("--risk", type=click.Choice(["low", "medium", "high", "critical"]), help="Only of this risk.")
@project_option
@output_options
def list_(tag: str | None, risk: str | None, *, folder: Path, output: Output) -> None:
    """List the declared actions."""
    from agentguard.assembly import load_project

    actions = [
        action
        for action in load_project(folder).registry
        if (tag is None or tag in action.tags) and (risk is None or action.risk.value == risk)
    ]

    def show() -> None:
        rows = [
            (each.reference, each.risk.value, ", ".join(each.resource_types), each.description)
            for each in actions
        ]
        table(("action", "risk", "resource types", "description"), rows)

    output.result(actions, show)


@command.command("show")
@click.argument("reference")
@project_option
@output_options
def show(reference: str, *, folder: Path, output: Output) -> None:
    """Show one action: its parameters, risk, prechecks and privileges."""
    from agentguard.assembly import load_project
    from agentguard.core import RequestError

    registry = load_project(folder).registry
    found = registry.resolve(reference)
    if found is None:
        near = nearest_action(registry, reference)
        meant = f"did you mean `{near}`, or " if near else ""
        raise RequestError(f"undeclared action `{reference}`", hint=f"{meant}see `agentguard actions list`")
    output.result(found.action, lambda: _show(found.action))


def _show(action: Action) -> None:
    click.echo(f"{click.style(action.reference, bold=True)}  {plain(action.description)}")
    facts = {
        "risk": action.risk.value,
        "access": action.access.value if action.access else "",
        "resource types": ", ".join(action.resource_types) or "any",
        "reversible": f"yes, by {action.compensating_action}"
        if action.compensating_action
        else "yes"
        if action.reversible
        else "no",
        "read-only form": action.read_only_form or "none",
        "check first": "; ".join(action.prechecks),
        "needs": ", ".join(action.required_privileges),
        "tags": ", ".join(action.tags),
    }
    for name, value in facts.items():
        if value:
            click.echo(f"  {name}: {plain(value)}")
    if action.arguments:
        click.echo("  arguments:")
        for pointer, argument in action.arguments.items():
            kind = f", {argument.kind}" if argument.kind else ""
            click.echo(f"    {plain(pointer)}: {argument.role.value}{kind}")
    click.echo("  params:")
    click.echo(to_json(action.params))


@command.command("manifest")
@project_option
@output_options
def manifest(*, folder: Path, output: Output) -> None:
    """Write the SHA-256 manifest of the project's action files."""
    from agentguard.config import load_config
    from agentguard.registry import write_manifest

    path = write_manifest(load_config(folder, environ()).actions_folder)
    output.result({"manifest": str(path)}, lambda: click.echo(f"wrote {path}"))


@command.command("verify")
@project_option
@output_options
def verify(*, folder: Path, output: Output) -> int:
    """Compare the action files with their manifest, and the shipped catalogue with its digest.

    The exit code is 4 when a file was changed, is missing, or stands there unlisted.
    """
    from agentguard.config import load_config
    from agentguard.registry import MANIFEST_NAME, verify_catalogue, verify_manifest

    actions_folder = load_config(folder, environ()).actions_folder
    has_manifest = (actions_folder / MANIFEST_NAME).is_file()
    problems = [str(each) for each in verify_catalogue()]
    if has_manifest:
        problems += [str(each) for each in verify_manifest(actions_folder)]

    def show() -> None:
        for problem in problems:
            click.echo(f"{click.style('changed', fg='red', bold=True)}: {plain(problem)}")
        if not has_manifest:
            click.echo(
                "the project's own action files have no manifest; `agentguard actions manifest` writes one"
            )
        if not problems:
            click.echo(
                "the shipped catalogue is as it was shipped" + (", the action files as listed" * has_manifest)
            )

    output.result({"ok": not problems, "problems": problems, "manifest": has_manifest}, show)
    return ExitCode.INTEGRITY if problems else ExitCode.ALLOW
