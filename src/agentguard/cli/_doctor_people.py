"""What `agentguard doctor` says of approvals and notices: whether somebody could decide, and would be told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentguard.cli._finding import Finding, State
from agentguard.cli._options import environ
from agentguard.cli._output import counted
from agentguard.core import APPROVER, AgentGuardError, Effect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentguard.assembly import Project
    from agentguard.config import Config, RouteSettings
    from agentguard.core import Person
    from agentguard.policy import PolicySet

_ADD = "agentguard people add NAME --role approver"


def examine_approvals(project: Project) -> Iterator[Finding]:
    """Say whether those whom rules and routes ask exist, and are enough."""
    from agentguard.assembly import open_people
    from agentguard.identity import report_state

    config, policies = project.config, project.policies.current
    if not asks_people(policies):
        return
    # Nothing is made here: without a state folder there are no accounts.
    has_state = bool(report_state(config.project.id, environ(), project_folder=config.folder).mode)
    try:
        accounts = open_people(project, environ()).list() if has_state else []
    except AgentGuardError as error:
        yield Finding("approvals", State.PROBLEM, error.message, error.hint)
        return
    approvers = [each.person for each in accounts if not each.is_disabled and APPROVER in each.roles]
    if not approvers:
        yield Finding("approvals", State.WARNING, "rules ask for approval, and nobody can approve", _ADD)
        return
    least = 2 if asks_two(policies) else 1
    if len(approvers) < least:
        yield Finding("approvals", State.WARNING, "a rule asks for two people, and one can approve", _ADD)
    names = {each.name for each in accounts}
    for name, route in config.approvals.routes.items():
        yield from _route(name, route, approvers, names)
    yield Finding(
        "approvals", State.OK, f"{len(approvers)} of {counted(len(accounts), 'account')} can approve"
    )


def examine_channels(config: Config) -> Iterator[Finding]:
    """Say whether the channels have their secrets, templates can be used, and links lead to people."""
    from msgspec.structs import replace

    from agentguard.config import SlackSettings
    from agentguard.notify import Templates, build_channels, channel_secret

    settings = config.notify
    for name, channel in settings.channels.items():
        try:
            build_channels(replace(settings, channels={name: channel}), config.folder, environ())
            if isinstance(channel, SlackSettings) and channel.signing_secret is not None:
                channel_secret(channel.signing_secret, config.folder, environ(), of=name)
        except AgentGuardError as error:
            yield Finding("notices", State.PROBLEM, error.message, error.hint)
        else:
            yield Finding("notices", State.OK, f"channel `{name}` has what it needs")
    if not settings.channels:
        return
    for problem in Templates(config.notify_folder).problems():
        yield Finding("notices", State.WARNING, f"{problem}; the shipped one is used", "mend or delete it")
    if settings.public_url is None:
        yield Finding(
            "notices",
            State.WARNING,
            "links in notices lead to this machine's own address, which others do not reach",
            "set `notify.public_url`",
        )


def asks_people(policies: PolicySet) -> bool:
    """Tell whether a rule asks people."""
    return asks_two(policies) or any(each.effect is Effect.REQUIRE_APPROVAL for each in policies.rules)


def asks_two(policies: PolicySet) -> bool:
    """Tell whether a rule asks two people."""
    return any(each.name == "two_person" for rule in policies.rules for each in rule.obligations)


def _route(name: str, route: RouteSettings, approvers: list[Person], names: set[str]) -> Iterator[Finding]:
    people = {*route.people, *(each for step in route.escalate for each in step.people)}
    groups = {*route.groups, *(each for step in route.escalate for each in step.groups)}
    unknown = sorted(people - names)
    if unknown:
        listed = ", ".join(f"`{each}`" for each in unknown)
        yield Finding("approvals", State.WARNING, f"route `{name}` names {listed}, who has no account", _ADD)
    is_for_all = not route.people and not route.groups
    asked = [each for each in approvers if is_for_all or each.name in people or each.groups & groups]
    if len(asked) < route.quorum.approve:
        yield Finding(
            "approvals",
            State.WARNING,
            f"route `{name}` needs {route.quorum.approve} to approve, and {len(asked) or 'nobody'} can",
            "agentguard people list; people vote who have the role `approver` and are named, or in a group named",
        )
