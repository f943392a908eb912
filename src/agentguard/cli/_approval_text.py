"""An approval as lines for people. All that an agent wrote is hostile text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from agentguard.cli._output import plain, to_json
from agentguard.core import ApprovalState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentguard.core import Approval, Step

_COLOURS = {
    ApprovalState.PENDING: "yellow",
    ApprovalState.APPROVED: "green",
    ApprovalState.CONSUMED: "green",
    ApprovalState.DENIED: "red",
    ApprovalState.EXPIRED: "red",
    ApprovalState.CANCELLED: "red",
}


def state_of(approval: Approval) -> str:
    """Return where it stands: its state, and for a used one what came of it."""
    if approval.state is not ApprovalState.CONSUMED:
        return str(approval.state.value)
    if approval.result is None:
        return "dispatched, effect unknown"
    return f"used, {approval.result.status}"


def left_of(approval: Approval, now: datetime | None = None) -> str:
    """Return how long it still waits, or the empty text."""
    if not approval.state.is_open:
        return ""
    left = int((approval.deadline - (now or datetime.now(UTC))).total_seconds())
    if left <= 0:
        return "time is up"
    hours, minutes = left // 3600, left // 60 % 60
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {left % 60} s"


def row_of(approval: Approval) -> list[str]:
    """Return the cells of the list."""
    what = f"{approval.action} on {approval.resource}"
    return [approval.id, state_of(approval), approval.risk.value, approval.principal, what, left_of(approval)]


def line_of(approval: Approval) -> str:
    """Return one line about the last thing that happened."""
    step = approval.steps[-1]
    state = click.style(state_of(approval), fg=_COLOURS[approval.state])
    what = f"{approval.principal}: {approval.action} on {approval.resource}"
    return f"{step.at:%H:%M:%S} {approval.id} {state}  {plain(what)}  {plain(_told(step))}"


def show(approval: Approval) -> None:
    """Print all that a person needs to decide, and what happened so far."""
    state = click.style(state_of(approval), fg=_COLOURS[approval.state], bold=True)
    click.echo(f"{approval.id}  {state}  {left_of(approval)}".rstrip())
    for name, text in _facts(approval):
        click.echo(f"  {name:<12} {plain(text)}")
    click.echo("  parameters")
    for line in to_json(approval.params).splitlines():
        click.echo(f"    {line}")
    if approval.patch is not None:
        click.echo("  changed by an approver to (JSON merge patch)")
        for line in to_json(approval.patch).splitlines():
            click.echo(f"    {line}")
    click.echo("  what happened")
    for step in approval.steps:
        click.echo(f"    {step.at:%Y-%m-%d %H:%M:%S}  {plain(_told(step))}")
    if approval.state is ApprovalState.PENDING:
        click.echo(f"  decide with `agentguard approvals approve {approval.id}`, or `deny`")
    if approval.awaits_review:
        click.echo(f"  to be reviewed with `agentguard approvals review {approval.id}`")


def _facts(approval: Approval) -> Iterator[tuple[str, str]]:
    behalf = ", ".join(approval.on_behalf_of)
    route, quorum = approval.route, approval.route.quorum
    named = ", ".join([*route.people, *(f"group {each}" for each in route.groups)]) or "any approver"
    yield "who", f"{approval.principal} on behalf of {behalf}" if behalf else approval.principal
    yield "what", f"{approval.action} on {approval.resource}"
    if approval.purpose:
        yield "it says why", approval.purpose
    yield "why asked", f"{approval.reason} (rule {approval.rule})" if approval.rule else approval.reason
    yield "risk", approval.risk.value
    yield "decided by", f"{named}; {quorum.approve} to approve, {quorum.deny} to deny"
    if approval.state.is_open:
        yield "until", f"{approval.deadline:%Y-%m-%d %H:%M:%S} UTC, then {route.at_zero}"
    yield from approval.about.items()


def _told(step: Step) -> str:
    by = f" by {step.by}" if step.by else ""
    where = f" ({step.origin.via} {step.origin.address})" if step.origin is not None else ""
    details = ", ".join(f"{name} {value}" for name, value in step.details.items())
    told = [f"{step.kind.value.replace('_', ' ')}{by}{where}", details, step.note]
    return "; ".join(each for each in told if each)
