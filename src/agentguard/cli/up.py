"""`agentguard up`."""

from __future__ import annotations

import functools
import logging
import sys
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click
import msgspec

from agentguard.cli._logging import set_up
from agentguard.cli._options import output_options, project_option
from agentguard.cli._output import Output, plain, size_of, to_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agentguard.assembly import Engine, Events, Notifying, Tokens
    from agentguard.core import Event
    from agentguard.enforcement import TicketStore
    from agentguard.policy import PolicyDescription
    from agentguard.server import Services

_log = logging.getLogger("agentguard.events")


@click.command("up", short_help="Run the sidecar: decisions over HTTP, the page, the metrics.")
@click.option("--host", help="Address to listen on.  [default: the setting, 127.0.0.1]")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port; 0 takes a free one.  [default: the setting, 8787]"
)
@click.option(
    "--login-link/--no-login-link",
    default=None,
    help="Print a link that logs in once.  [default: only in a terminal]",
)
@project_option
@output_options
def command(
    *, host: str | None, port: int | None, login_link: bool | None, folder: Path, output: Output
) -> int:
    """Run the sidecar of a project until Ctrl-C.

    Agents ask it with their tokens (`agentguard token issue`), people look at its page with the admin token
    (`agentguard token admin`). Changed policy files are taken up while it runs. On Ctrl-C or SIGTERM requests
    in flight are finished and the log's head is signed. With --json one line says where it is.
    """
    from agentguard.assembly import (
        Engine,
        Events,
        load_project,
        open_gateway,
        open_notifying,
        open_sensor_link,
        open_ticket_store,
        open_tokens,
    )
    from agentguard.notify import AlertNotices
    from agentguard.server import serve

    project = load_project(folder)
    set_up(project.config.log.level)
    tokens = open_tokens(project)
    with ExitStack() as open_parts:
        events = Events(project.config)
        open_parts.callback(events.close)
        notifying = open_notifying(project)
        if notifying is not None:
            open_parts.callback(notifying.close)
            open_parts.callback(AlertNotices(events.bus, notifying.notifier).close)
        notifier = None if notifying is None else notifying.notifier
        engine = Engine(project, keeps_sessions=True, bus=events.bus, notifier=notifier)
        open_parts.callback(engine.close)
        engine.warm()
        tickets = open_ticket_store(engine.state)
        open_parts.callback(tickets.close)
        sensor = open_sensor_link(engine, events)
        open_parts.callback(sensor.close)
        services = replace(
            _services(engine, tokens, events, tickets, host=host, port=port), sensor=sensor.state
        )
        spending = engine.spending
        opened = open_gateway(engine, tokens, events)
        if opened is not None:
            gateway, spending = opened
            open_parts.callback(spending.close)
            services = replace(services, gateway=gateway)
        if spending is not None:
            ready = _ready(engine, spending.follow().problems)
            services = replace(services, spending=spending.keeper.figures, ready=ready)
        if notifying is not None:
            services = replace(
                services,
                links=notifying.links,
                clicks=notifying.clicks,
                notices=notifying.outbox.counts,
            )
        link = sys.stdout.isatty() if login_link is None else login_link
        sensor.start()
        return serve(
            services,
            on_started=_announcement(engine, events, services, output, notifying=notifying, link=link),
        )


def _log_alert(alert: Event) -> None:
    _log.warning("%s by %s: %s", alert.payload["action"], alert.principal, alert.payload["reason"])


def _announcement(
    engine: Engine,
    events: Events,
    services: Services,
    output: Output,
    *,
    notifying: Notifying | None,
    link: bool,
) -> Callable[[str], None]:
    def announce(url: str) -> None:
        if notifying is not None and not notifying.notifier.base_url:
            notifying.notifier.base_url = url
        events.compare(engine, url=url, on_alert=_log_alert)
        policies = engine.project.policies.current
        folder = str(engine.project.config.audit_folder)
        login = f"{url}/login?code={services.login_codes.issue()}" if link else None
        if output.as_json:
            facts = {"url": url, "policy_version": policies.version, "audit": folder, "login": login}
            click.echo(to_json(facts, indent=None))
        elif not output.quiet:
            click.echo(f"agentguard is up at {url}")
            if services.gateway is not None:
                names = ", ".join(engine.project.config.gateway.upstreams)
                click.echo(f"  models through {url}/openai/v1 and {url}/anthropic: {plain(names)}")
            click.echo(f"  policy {policies.version[:19]} with {size_of(policies)}")
            click.echo(f"  audit log in {plain(folder)}")
            how = f", once, with {login}" if login else " with what `agentguard token admin` prints"
            click.echo(f"  log in{how}")
            click.echo("  stop with Ctrl-C")

    return announce


def _services(
    engine: Engine,
    tokens: Tokens,
    events: Events,
    tickets: TicketStore,
    *,
    host: str | None,
    port: int | None,
) -> Services:
    from importlib.metadata import version

    from agentguard.assembly import open_people, sign_kernel_policy
    from agentguard.audit import Rejections
    from agentguard.identity import LoginCodes
    from agentguard.server import PeopleDoor, Services

    settings = engine.project.config.server
    # Where the links of notices lead is an address of this server, whatever stands before it.
    public = urlsplit(engine.project.config.notify.public_url or "").netloc.lower()
    hosts = (*settings.allowed_hosts, *([public] if public else []))
    return Services(
        decider=engine.pdp,
        labels=engine.pdp,
        sessions=engine.pdp,
        audit=engine.audit,
        rejections=Rejections(engine.audit),
        verify_token=tokens.verifier.verify,
        admin_matches=tokens.admin.matches,
        login_codes=LoginCodes(),
        principal_named=engine.project.inventory.principals.get,
        describe_policies=lambda: _describe_policies(engine),
        describe_actions=lambda: list(engine.project.registry),
        ready=lambda: _problems(engine),
        version=version("agentguard"),
        settings=msgspec.structs.replace(
            settings,
            host=host or settings.host,
            port=settings.port if port is None else port,
            allowed_hosts=hosts,
        ),
        blocking=engine.project.config.audit.durability != "os",
        events=events.store,
        ticket_keys=engine.ticket_keys,
        ticket_store=tickets,
        approvals=engine.approvals,
        people=PeopleDoor(open_people(engine.project, audit=engine.audit)),
        sign_kernel_policy=functools.partial(sign_kernel_policy, engine.project, engine.state),
    )


def _describe_policies(engine: Engine) -> PolicyDescription:
    from agentguard.policy import describe

    store = engine.project.policies
    return describe(store.current, problem=store.problem)


def _ready(engine: Engine, more: Callable[[], list[str]]) -> Callable[[], list[str]]:
    return lambda: [*_problems(engine), *more()]


def _problems(engine: Engine) -> list[str]:
    problems: list[str] = []
    # Asking heals it, where what was wrong is mended.
    if not engine.audit.probe().healthy:
        problems.append("the audit log takes no records, so everything is denied")
    if engine.project.policies.problem is not None:
        problems.append("the policy files cannot be used; an older set is in force")
    return problems
