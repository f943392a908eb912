"""`agentguard sensor`: the one process with rights in the kernel."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket as unix
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentguard.cli._exit import ExitCode
from agentguard.cli._logging import set_up
from agentguard.cli._options import environ, nearest_project, output_options
from agentguard.cli._output import Output, counted, plain, to_json
from agentguard.config import FILE_NAME, FOLDER_VARIABLE, Config, load_config

if TYPE_CHECKING:
    from agentguard.sensor import Health, Watching

_SOCKET = click.option(
    "--socket",
    type=click.Path(path_type=Path),
    help="Its Unix socket.  [default: the setting, /run/agentguard/sensor.sock]",
)
_PROJECT = click.option(
    "--project",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    envvar=FOLDER_VARIABLE,
    help=f"The project whose `sensor` settings count.  [default: the nearest one upwards with {FILE_NAME}, if any]",
)


@click.group(
    "sensor",
    invoke_without_command=True,
    short_help="Watch agents for those who may not: one process with rights in the kernel.",
)
@_SOCKET
@_PROJECT
@output_options
@click.pass_context
def command(context: click.Context, *, socket: Path | None, folder: Path | None, output: Output) -> None:
    """Run the sensor until SIGTERM or Ctrl-C, as root.

    `agentguard run` of any user finds it at its socket and has the program watched that it starts; each user is told of
    own processes only. Agents that the project's settings name are watched too, whoever started them, and the sidecar
    of the project decides and stores what they do; while it is away that waits on the disk. The sensor serves no
    HTTP, and gives up the rights that it does not need. On SIGHUP it reads again whom to watch. `agentguard sensor health` says how it is.
    """
    if context.invoked_subcommand is not None:
        return
    # Libraries of numpy would start threads, which would keep the rights that are given up.
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    from agentguard.sensor import Sensor, give_up_rights

    config = _config(folder)
    set_up(config.log.level if config is not None else "info")
    place = _socket(socket, config)
    # Whoever asks before it listens asks for what is being read.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    load = functools.partial(_agents, config.folder) if config is not None else None
    agents = load() if load is not None else None
    sensor = Sensor(place, agents=agents, load_agents=load, confine=give_up_rights)
    signal.signal(signal.SIGHUP, lambda *_: sensor.reload())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sensor.stop())
    watched = list(config.sensor.watch) if config is not None else []
    if output.as_json:
        click.echo(to_json({"socket": str(place), "tier": "observe", "watches": watched}, indent=None))
    elif not output.quiet:
        click.echo(f"the sensor listens at {plain(str(place))}; stop it with Ctrl-C")
        if watched:
            click.echo(f"  watches agents of {plain(', '.join(watched))}")
    _notify("READY=1")
    sensor.serve()


def _notify(state: str) -> None:
    """Tell systemd, if it started us and waits (sd_notify(3))."""
    place = environ().get("NOTIFY_SOCKET", "")
    if place[:1] in {"/", "@"}:
        with unix.socket(unix.AF_UNIX, unix.SOCK_DGRAM) as datagrams, contextlib.suppress(OSError):
            datagrams.sendto(state.encode(), place.replace("@", "\0", 1) if place[0] == "@" else place)


def _config(folder: Path | None) -> Config | None:
    """Return the project's settings; None where there is no project and none was asked for."""
    found = folder or nearest_project()
    if folder is None and not (found / FILE_NAME).is_file():
        return None
    return load_config(found, environ())


def _agents(folder: Path) -> Watching:
    """Return what the project's settings say now of whom to watch."""
    from agentguard.sensor import watching_of

    return watching_of(load_config(folder, environ()), folder / FILE_NAME)


def _socket(socket: Path | None, config: Config | None) -> Path:
    from agentguard.sensor import DEFAULT_SOCKET

    return socket or Path(config.sensor.socket if config is not None else DEFAULT_SOCKET)


@command.command("health")
@_SOCKET
@_PROJECT
@output_options
def health(*, socket: Path | None, folder: Path | None, output: Output) -> int:
    """Say how the running sensor is; the exit code is 1 when it has lost records or met errors, 5 when it is not there."""
    from agentguard.sensor import ask_health

    found = ask_health(_socket(socket, _config(folder)))
    output.result(found, lambda: _show(found))
    return ExitCode.FAILED if found.errors or any(found.dropped.values()) else ExitCode.ALLOW


def _show(found: Health) -> None:
    click.echo(
        f"tier {found.tier}, up for {found.uptime_s:.0f} s, watching {found.runs} runs"
        f" and {counted(found.agents, 'agent')}, version {found.version}"
    )
    click.echo(
        f"  records {found.records}, repeated {found.repeated}, waiting {found.backlog}, errors {found.errors}"
    )
    lost = ", ".join(f"{name} {count}" for name, count in found.dropped.items())
    click.echo(f"  lost: {lost}")
    click.echo(
        f"  from the kernel to Python: mean {found.latency_mean_ms} ms, most {found.latency_max_ms} ms"
    )
    if found.buffer is not None:
        who = "a sidecar takes them" if found.sidecar else "no sidecar is there"
        used, most = (each >> 10 for each in (found.buffer.used_bytes, found.buffer.max_bytes))
        click.echo(f"  reports that wait: {found.buffer.waiting}, {used} KiB of {most} ({who})")
    if found.pods:
        click.echo(f"  {plain(found.pods)}")
    for name, why in found.missing.items():
        click.echo(f"  not seen: {plain(name)} ({plain(why)})")
