"""`agentguard sensor`: the one process with rights in the kernel."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentguard.cli._exit import ExitCode
from agentguard.cli._logging import set_up
from agentguard.cli._options import output_options
from agentguard.cli._output import Output, plain, to_json

if TYPE_CHECKING:
    from agentguard.sensor import Health

_SOCKET = click.option(
    "--socket",
    type=click.Path(path_type=Path),
    default=Path("/run/agentguard/sensor.sock"),
    show_default=True,
    help="Its Unix socket.",
)


@click.group(
    "sensor",
    invoke_without_command=True,
    short_help="Watch agents for those who may not: one process with rights in the kernel.",
)
@_SOCKET
@output_options
@click.pass_context
def command(context: click.Context, *, socket: Path, output: Output) -> None:
    """Run the sensor until SIGTERM or Ctrl-C, as root.

    `agentguard run` of any user finds it at its socket and has the program watched that it starts; each user is told of
    own processes only. It serves no HTTP. `agentguard sensor health` says how it is.
    """
    if context.invoked_subcommand is not None:
        return
    from agentguard.sensor import Sensor

    set_up("info")
    sensor = Sensor(socket)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sensor.stop())
    if output.as_json:
        click.echo(to_json({"socket": str(socket), "tier": "observe"}, indent=None))
    elif not output.quiet:
        click.echo(f"the sensor listens at {plain(str(socket))}; stop it with Ctrl-C")
    sensor.serve()


@command.command("health")
@_SOCKET
@output_options
def health(*, socket: Path, output: Output) -> int:
    """Say how the running sensor is; the exit code is 1 when it has lost records or met errors, 5 when it is not there."""
    from agentguard.sensor import ask_health

    found = ask_health(socket)
    output.result(found, lambda: _show(found))
    return ExitCode.FAILED if found.errors or any(found.dropped.values()) else ExitCode.ALLOW


def _show(found: Health) -> None:
    click.echo(
        f"tier {found.tier}, up for {found.uptime_s:.0f} s, watching {found.runs} runs, version {found.version}"
    )
    click.echo(
        f"  records {found.records}, repeated {found.repeated}, waiting {found.backlog}, errors {found.errors}"
    )
    lost = ", ".join(f"{name} {count}" for name, count in found.dropped.items())
    click.echo(f"  lost: {lost}")
    click.echo(
        f"  from the kernel to Python: mean {found.latency_mean_ms} ms, most {found.latency_max_ms} ms"
    )
    for name, why in found.missing.items():
        click.echo(f"  not seen: {plain(name)} ({plain(why)})")
