"""What stands behind a decision, for people: what counted, and which rules look at more than this request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from agentguard.cli._output import plain, table, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentguard.core import Decision, Provenance
    from agentguard.policy import Concern


def show_findings(decision: Decision) -> None:
    """Print what the findings say beyond the decision's reason."""
    for finding in decision.findings:
        if finding.explanation and finding.explanation != decision.reason:
            click.echo(f"  {plain(finding.explanation)}")


def show_concerns(concerns: Sequence[Concern]) -> None:
    """Print which rules about more than one request the action concerns; nothing if there are none."""
    if not concerns:
        return
    click.echo("  rules about more than this request; what came before is not known here:")
    rows = [
        (each.id, each.kind, each.effect.value, ", ".join(each.steps), place_text(each.file, each.line))
        for each in concerns
    ]
    table(("rule", "kind", "effect", "this action is its", "stands in"), rows)


def place_text(file: str | None, line: int | None) -> str:
    """Return `policies/a.yaml:3`."""
    if file is None:
        return "ships with the package"
    return file if line is None else f"{file}:{line}"


def facts_text(facts: Mapping[str, Any]) -> str:
    """Return facts about arguments on one line."""
    return ", ".join(f"{name} = {to_json(value, indent=None)}" for name, value in facts.items())


def origins_text(provenance: Mapping[str, Provenance]) -> str:
    """Return on one line where arguments come from."""
    return ", ".join(
        f"{path} is {each.label.integrity.value} and {each.label.confidentiality.value}"
        + (f" from {', '.join(each.sources)}" if each.sources else "")
        for path, each in provenance.items()
    )
