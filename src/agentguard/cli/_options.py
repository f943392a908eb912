"""Options that many commands share, and what they stand for."""

from __future__ import annotations

import functools
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from agentguard.cli._output import Output, plain
from agentguard.config import FILE_NAME, FOLDER_VARIABLE
from agentguard.core import AgentGuardError, Context, Principal, Request
from agentguard.documents import parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentguard.assembly import Project
    from agentguard.registry import ActionRegistry

SHOWN = 10
_AGO = {"s": 1, "m": 60, "h": 3600, "d": 86400}

F = TypeVar("F", bound="Callable[..., Any]")


def output_options(function: F) -> F:
    """Add `--json` and `--quiet`; the command gets them as `output`."""

    @click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
    @click.option("-q", "--quiet", is_flag=True, help="Print nothing; the exit code says it.")
    @functools.wraps(function)
    def wrapper(*args: Any, as_json: bool, quiet: bool, **kwargs: Any) -> Any:
        return function(*args, output=Output(as_json=as_json, quiet=quiet), **kwargs)

    return wrapper  # type: ignore[return-value]  # click passes what the wrapped function lacks


def project_option(function: F) -> F:
    """Add `--project`; the command gets the folder as `folder`."""

    @click.option(
        "--project",
        "folder",
        type=click.Path(path_type=Path, file_okay=False),
        envvar=FOLDER_VARIABLE,
        help=f"The project folder.  [default: the nearest one upwards with {FILE_NAME}]",
    )
    @functools.wraps(function)
    def wrapper(*args: Any, folder: Path | None, **kwargs: Any) -> Any:
        return function(*args, folder=folder or nearest_project(), **kwargs)

    return wrapper  # type: ignore[return-value]  # click passes what the wrapped function lacks


def moment(_context: click.Context, _parameter: click.Parameter, text: str | None) -> datetime | None:
    """Read `2026-11-21`, `2026-11-21T12:00Z`, or `15m` ago."""
    if text is None:
        return None
    if text[:-1].isdigit() and text[-1] in _AGO:
        return datetime.now(UTC) - timedelta(seconds=int(text[:-1]) * _AGO[text[-1]])
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter("write it as 2026-11-21, 2026-11-21T12:00Z, or 15m (ago)") from None
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when


def nearest_project() -> Path:
    """Return the nearest folder upwards that is a project, or the present one."""
    here = Path.cwd()
    return next((each for each in (here, *here.parents) if (each / FILE_NAME).is_file()), here)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as a command line asks it."""

    action: str
    resource: str
    principal: str | None
    given: tuple[str, ...]
    params_text: str | None
    context: Context

    def request(self, project: Project) -> Request:
        """Return the request, its parameters read as the project's schemas declare them.

        Raises:
            UsageError: the parameters are not well formed, or it is not said who acts.
        """
        return Request(
            principal=who(project, self.principal),
            action=self.action,
            resource=self.resource,
            params=read_params(project.registry, self.action, self.given, self.params_text),
            context=self.context,
        )


_REQUEST_OPTIONS = (
    click.argument("action", shell_complete=lambda _context, _parameter, text: _complete_actions(text)),
    click.option("--resource", "-r", required=True, help="The resource's id, as prod/api."),
    click.option("--principal", "-p", help="Who acts.  [default: the only one in the inventory]"),
    click.option("--param", "given", "-P", multiple=True, metavar="NAME=VALUE", help="One parameter."),
    click.option(
        "--params", "params_text", metavar="JSON", help="All parameters as one object; - reads them."
    ),
    click.option("--session", default="", help="The session that this belongs to."),
    click.option("--task", default="", help="The task that this belongs to."),
    click.option("--ticket", default="", help="A ticket that rules may ask for."),
    click.option("--reason", default="", help="Why it is asked for; recorded, and a rule may want one."),
    click.option("--correlation-id", default="", help="Found again in the record."),
)


def request_options(function: F) -> F:
    """Add what makes up a request; the command gets it as `asked`."""

    @functools.wraps(function)
    def wrapper(
        *args: Any,
        action: str,
        resource: str,
        principal: str | None,
        given: tuple[str, ...],
        params_text: str | None,
        session: str,
        task: str,
        ticket: str,
        reason: str,
        correlation_id: str,
        **kwargs: Any,
    ) -> Any:
        context = Context(
            session=session, task=task, ticket=ticket, reason=reason, correlation_id=correlation_id
        )
        asked = Asked(action, resource, principal, given, params_text, context)
        return function(*args, asked=asked, **kwargs)

    made: Any = wrapper
    for option in reversed(_REQUEST_OPTIONS):
        made = option(made)
    return made  # type: ignore[no-any-return]  # click's decorators keep the function


def who(project: Project, principal_id: str | None) -> Principal:
    """Return the principal that the command line names, or the only one there is.

    Raises:
        UsageError: none is named, and the inventory has none or several.
    """
    if principal_id is not None:
        return project.principal(principal_id)
    known = list(project.inventory.principals.values())
    if len(known) == 1:
        return known[0]
    names = ", ".join(each.id for each in known[:SHOWN]) + (", ..." if len(known) > SHOWN else "")
    raise click.UsageError(f"say who acts with --principal ({plain(names) or 'the inventory lists none'})")


def _complete_actions(text: str) -> list[str]:
    from agentguard.assembly import load_project

    try:
        names = load_project(nearest_project()).registry.names()
    except AgentGuardError:
        return []
    return [name for name in names if name.startswith(text)]


def read_params(
    registry: ActionRegistry, action: str, given: tuple[str, ...], params_text: str | None
) -> dict[str, Any]:
    """Return the parameters of a command line; `NAME=VALUE` is read as the schema declares NAME.

    Raises:
        UsageError: they are not well formed.
    """
    params: dict[str, Any] = {}
    if params_text is not None:
        params = _object(params_text)
    declared = registry.resolve(action)
    schemas = declared.action.params.get("properties", {}) if declared is not None else {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"`{each}` is not NAME=VALUE", param_hint="--param")
        schema = schemas.get(name)
        params[name] = _typed(value, schema.get("type", []) if isinstance(schema, dict) else "string")
    return params


def _object(text: str) -> dict[str, Any]:
    try:
        value = parse(sys.stdin.read() if text == "-" else text, file="params.json").value
    except (AgentGuardError, UnicodeDecodeError) as error:
        what = error.message if isinstance(error, AgentGuardError) else "not UTF-8"
        raise click.BadParameter(f"no JSON: {plain(what)}", param_hint="--params") from None
    if not isinstance(value, dict):
        raise click.BadParameter("no JSON object", param_hint="--params")
    return value


def _typed(value: str, kind: str | list[str]) -> Any:
    """Read a value as its schema declares it; what cannot be read so is left to the schema to refuse."""
    kinds = kind if isinstance(kind, list) else [kind]
    if kinds == ["string"]:
        return value
    try:
        return parse(value, file="value.json").value
    except AgentGuardError:
        return value


def nearest_action(registry: ActionRegistry, reference: str) -> str | None:
    """Return the declared name that is most like an undeclared one."""
    import difflib

    near = difflib.get_close_matches(reference.partition("@")[0][:200], registry.names(), n=1)
    return near[0] if near else None


def environ() -> dict[str, str]:
    """Return the environment that configuration reads."""
    return dict(os.environ)
