"""The root command; a subcommand is loaded when it is called, so that a cold `check` stays quick."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from agentguard.cli._exit import MEANINGS, ExitCode, of_error
from agentguard.cli._logging import redact
from agentguard.cli._output import colour, plain, show_error
from agentguard.core import AgentGuardError

if TYPE_CHECKING:
    from collections.abc import Sequence

# 128 + the signal, as shells have it.
INTERRUPTED = 130
READER_GONE = 141

# name -> (module, one line of help)
COMMANDS = {
    "init": ("init", "Make a project folder: configuration, policies, inventory."),
    "up": ("up", "Run the sidecar: decisions over HTTP, the page, the metrics."),
    "run": ("run", "Run an agent and see what its processes really do."),
    "sensor": ("sensor", "Watch agents for those who may not: one process with rights in the kernel."),
    "worker": ("worker", "Work on what others have begun: approvals on Temporal."),
    "check": ("check", "Decide one request, on record."),
    "approvals": ("approvals", "See what waits for people; approve, deny, watch."),
    "policy": ("policy", "Validate, test and explain rules; apply templates."),
    "actions": ("actions", "Show, import and verify the declared actions."),
    "audit": ("audit", "Show, follow, export and verify the audit log."),
    "events": ("events", "Show and follow what the kernel and other layers saw."),
    "spend": ("spend", "Show what was spent, how far budgets are used, what models cost."),
    "token": ("token", "Issue, verify and revoke tokens; rotate keys."),
    "people": ("people", "Accounts of people who vote: add, role, disable, login."),
    "notify": ("notify", "Channels over which people are told: list, test, dead letters."),
    "flow": ("flow", "Endorse, declassify and vouch for what an agent has seen."),
    "ticket": ("ticket", "Look at and revoke execution tickets; export their keys."),
    "session": ("session", "Replay what an agent did, and see what would have been decided."),
    "agents": ("agents", "Show who asks, since when, and the last decision."),
    "doctor": ("doctor", "Say what is wrong here and how to mend it."),
}


class _ReaderGoneError(Exception):
    """Who read our output has closed it."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a closed pipe is told apart from a failure, which click would not do."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise _ReaderGoneError from None

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the commands, in the order in which one meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return the command called `cmd_name`."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"agentguard.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the exit codes."""
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code.value), text) for code, text in MEANINGS.items()])


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="agentguard", message="agentguard %(version)s")
def root() -> None:
    """Zero-trust runtime security for AI agents: decide, enforce and prove every action.

    Start with `agentguard init`, then `agentguard up`. Shell completion:
    `eval "$(_AGENTGUARD_COMPLETE=bash_source agentguard)"` (or zsh_source, fish_source).
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; no traceback reaches a user."""
    try:
        result: Any = root.main(
            list(arguments), prog_name="agentguard", standalone_mode=False, color=colour()
        )
    except click.exceptions.Exit as done:
        return done.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except AgentGuardError as error:
        show_error(error, as_json="--json" in arguments)
        return of_error(error)
    except _ReaderGoneError:
        # Nothing more can be written, not even by the interpreter at its end. What the shell says of a command
        # that SIGPIPE ended, and never 0: a denial whose reader has gone is no allow.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    except Exception as error:  # noqa: BLE001 - the boundary of the process: a person gets a sentence
        what = plain(redact(f"{type(error).__name__}: {error}"))
        click.echo(f"error: this should not have happened: {what}", err=True)
        click.echo("  hint: please report it, with the command that you ran", err=True)
        return ExitCode.FAILED
    return int(result) if isinstance(result, int) else ExitCode.ALLOW
