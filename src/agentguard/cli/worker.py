"""`agentguard worker`: processes that work on what others have begun."""

from __future__ import annotations

import signal
from contextlib import closing
from typing import TYPE_CHECKING

import click

from agentguard.cli._exit import ExitCode
from agentguard.cli._logging import set_up
from agentguard.cli._options import output_options, project_option
from agentguard.cli._output import Output, plain, to_json

if TYPE_CHECKING:
    from pathlib import Path

    from agentguard.assembly import ApprovalWork


@click.group("worker", short_help="Work on what others have begun: approvals on Temporal.")
def command() -> None:
    """Run a process that works on what others have begun."""


@command.command("approvals")
@project_option
@output_options
def approvals(*, folder: Path, output: Output) -> int:
    """Work on the project's approvals on Temporal until SIGTERM or Ctrl-C.

    Runs their workflows: keeps their time, puts what happens on record, tells people, keeps them where they are found.
    Any number may run on the project's machine, beside the sidecar; with `approvals.engine: embedded` none is needed.
    What is in progress is finished at the end.
    """
    from agentguard.assembly import ApprovalWork, load_project

    project = load_project(folder)
    set_up(project.config.log.level)
    with closing(ApprovalWork(project)) as work:
        before = {
            number: signal.signal(number, lambda *_: work.stop())
            for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            work.run(on_ready=lambda: _announce(work, output))
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    return ExitCode.ALLOW


def _announce(work: ApprovalWork, output: Output) -> None:
    server = work.server
    if output.as_json:
        about = {"address": server.address, "namespace": server.namespace, "task_queue": server.queue}
        click.echo(to_json(about, indent=None))
    elif not output.quiet:
        click.echo(
            f"works on approvals at {plain(server.address)}, namespace {plain(server.namespace)},"
            f" queue {plain(server.queue)}; stop it with Ctrl-C"
        )
