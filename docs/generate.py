"""Writes the references under docs/ from the code: `make docs`. With `--check` it says which are out of date."""  # noqa: INP001 - a script run by hand

from __future__ import annotations

import argparse
import ast
import inspect
import json
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml

import agentguard
from agentguard.cli._app import root
from agentguard.cli._exit import MEANINGS
from agentguard.config import FILE_NAME, Config
from agentguard.registry import load_actions
from agentguard.server import openapi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

FOLDER = Path(__file__).parent
PACKAGE = Path(agentguard.__file__).parent
NOTE = "<!-- Written by docs/generate.py from the code: change the code, then run `make docs`. -->\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def configuration() -> str:
    """Return the reference of all settings."""
    sections: dict[str, list[Sequence[str]]] = defaultdict(list)
    for setting in Config.settings():
        default = "must be given" if setting.required else f"`{json.dumps(setting.default)}`"
        variable = f"`{setting.variable}`" if setting.variable else "only in the file"
        row = (f"`{setting.key}`", setting.type, default, setting.description, variable)
        sections[setting.section].append(row)
    parts = [
        NOTE,
        "# Configuration\n",
        (
            f"A project's settings stand in `{FILE_NAME}` at its root. `agentguard init` writes one. Only `project.id`\n"
            "has to be given; paths are relative to the project folder.\n"
        ),
        (
            f'```yaml\n# {FILE_NAME}\nproject:\n  id: my-project-1a2b3c\n  name: "my project"\nserver:\n  port: 8787\n'
            "risk:\n  approval_from: 9\n  deny_from: 16\n  environments:\n"
            "    prod: {approval_from: 6, deny_from: 12}\n```\n"
        ),
        (
            "An environment variable `AGENTGUARD_<SECTION>_<KEY>` goes before the file; a list is written with commas.\n"
            "A key or a variable of one of these sections that is not known is refused, not ignored: a setting that is\n"
            "silently ignored is a protection that is silently off.\n"
        ),
    ]
    for section, rows in sections.items():
        parts += [
            f"## `{section}`\n",
            table(("key", "takes", "default", "meaning", "environment variable"), rows),
        ]
    parts += [
        "## Beside the settings\n",
        table(
            ("environment variable", "meaning"),
            [
                ("`AGENTGUARD_PROJECT`", "the project folder that commands use, as `--project` says it"),
                (
                    "`XDG_STATE_HOME`",
                    "where the state folder lies, `agentguard/<project.id>` in it; `~/.local/state` if not set",
                ),
            ],
        ),
    ]
    return "\n".join(parts)


def command_line() -> str:
    """Return the reference of all commands."""
    parts = [NOTE, "# Command line\n", paragraphs(root), "Every command takes `--help`.\n", "## Exit codes\n"]
    parts.append(
        table(("code", "meaning"), [(f"`{code.value}`", meaning) for code, meaning in MEANINGS.items()])
    )
    parts += [
        (
            "An interrupted command ends with 130. With `--json` an error is a JSON object\n"
            '`{"error": {"code", "message", "location", "hint"}}` on standard error; the codes are in [errors](errors.md).\n'
        )
    ]
    for path, command in commands(root, ("agentguard",)):
        parts += describe_command(path, command)
    return "\n".join(parts)


def commands(group: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command below `group` with its path."""
    if not isinstance(group, click.Group):
        return
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, name
        yield (*path, name), command
        yield from commands(command, (*path, name))


def describe_command(path: tuple[str, ...], command: click.Command) -> Iterator[str]:
    """Yield the Markdown of one command."""
    context = click.Context(command)
    yield f"{'#' * len(path)} `{' '.join(path)}`\n"
    yield paragraphs(command)
    if isinstance(command, click.Group):
        return
    yield f"```text\n{' '.join((*path, *command.collect_usage_pieces(context)))}\n```\n"
    options = [each for each in command.get_params(context) if isinstance(each, click.Option)]
    rows = []
    for option in options:
        record = option.get_help_record(context)
        if record is not None and "--help" not in option.opts:
            rows.append((f"`{record[0]}`", record[1].replace("  [", " [")))
    if rows:
        yield table(("option", "meaning"), rows)


def paragraphs(command: click.Command) -> str:
    """Return a command's help; what click keeps as it is becomes a block of code."""
    parts = []
    for part in inspect.cleandoc(command.help or "").split("\n\n"):
        if part.startswith("\b\n"):
            title, *lines = part.removeprefix("\b\n").splitlines()
            parts += [f"{title}\n", "```console", *(f"$ {line.strip()}" for line in lines), "```\n"]
        else:
            parts.append(part.strip() + "\n")
    return "\n".join(parts)


def api() -> str:
    """Return the reference of the HTTP API."""
    document = openapi()
    parts = [NOTE, (FOLDER / "api-intro.md.in").read_text(), "## Endpoints\n"]
    rows = []
    details: list[str] = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            name = f"{method.upper()} {path}"
            anchor = re.sub(r"[^a-z0-9_ -]", "", name.lower()).replace(" ", "-")
            rows.append((f"[`{name}`](#{anchor})", bearer(operation), operation["summary"]))
            details += describe_endpoint(name, path, method, operation)
    parts += [table(("endpoint", "who may", "what it does"), rows), *details, "## Types\n"]
    for name, schema in sorted(document["components"]["schemas"].items()):
        parts += describe_type(name, schema)
    return "\n".join(parts)


def bearer(operation: dict[str, Any]) -> str:
    """Return whose token an endpoint takes."""
    schemes = [name for each in operation.get("security", ()) for name in each if name != "agent_key"]
    names = {
        "agent": "an agent's token", "person": "a person's token", "login": "a person's login", "admin": "the admin token",
    }  # fmt: skip
    return " or ".join(names[each] for each in schemes) or "anybody"


def describe_endpoint(name: str, path: str, method: str, operation: dict[str, Any]) -> Iterator[str]:
    """Yield the Markdown of one endpoint: what it takes and gives, with an example."""
    yield f"### {name}\n"
    yield f"{operation['summary']}. For {bearer(operation)}.\n"
    parameters = [each for each in operation.get("parameters", ()) if each["in"] == "query"]
    if parameters:
        yield table(
            ("query parameter", "meaning"),
            [(f"`{each['name']}`", each["description"]) for each in parameters],
        )
    curl = ["curl"]
    if operation.get("security"):
        curl.append('-H "Authorization: Bearer $TOKEN"')
    body = operation.get("requestBody")
    if body:
        ((kind, content),) = body["content"].items()
        if kind == "multipart/form-data":
            curl += [f"-F {field}={value}" for field, value in content["example"].items()] + ["-F file=@FILE"]
        else:
            curl += [f"-H 'Content-Type: {kind}'", f"-d '{json.dumps(content['example'])}'"]
    query = "?effect=deny&limit=10" if method == "get" and parameters else ""
    curl.append(f"'http://127.0.0.1:8787{path}{query}'")
    joint = " \\\n  "
    yield f"```sh\n{joint.join(curl)}\n```\n"
    for status, response in operation["responses"].items():
        for content in response.get("content", {}).values():
            if "example" in content:
                example = content["example"]
                text = example if isinstance(example, str) else json.dumps(example, indent=2)
                yield f"Answers {status}:\n\n```{'text' if isinstance(example, str) else 'json'}\n{text}\n```\n"
    yield table(
        ("status", "meaning"),
        [(f"`{key}`", each["description"]) for key, each in operation["responses"].items()],
    )


def describe_type(name: str, schema: dict[str, Any]) -> Iterator[str]:
    """Yield the Markdown of one type of the API."""
    yield f"### {name}\n"
    if "description" in schema:
        yield inspect.cleandoc(schema["description"]) + "\n"
    if "enum" in schema:
        yield "One of " + ", ".join(f"`{each}`" for each in schema["enum"]) + ".\n"
    required = schema.get("required", ())
    fields = schema.get("properties", {})
    if fields:
        yield table(
            ("field", "type", "must be given"),
            [(f"`{key}`", type_text(each), "yes" if key in required else "") for key, each in fields.items()],
        )


def type_text(schema: dict[str, Any]) -> str:
    """Return a JSON Schema in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(type_text(each) for each in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"`{each}`" for each in schema["enum"])
    if "prefixItems" in schema:
        return "list of " + ", ".join(type_text(each) for each in schema["prefixItems"])
    if schema.get("type") == "array":
        return f"list of {type_text(schema.get('items') or {})}"
    values = schema.get("additionalProperties")
    if schema.get("type") == "object" and isinstance(values, dict) and values:
        return f"object of {type_text(values)}"
    kind = str(schema.get("type", "any value"))
    return f"{kind}, `{schema['pattern']}`" if "pattern" in schema else kind


def errors() -> str:
    """Return the reference of all error codes; each must have its entry in errors.yaml, and none too many."""
    groups: dict[str, dict[str, list[str]]] = yaml.safe_load((FOLDER / "errors.yaml").read_text())
    written = [code for group in groups.values() for code in group]
    raised = error_codes()
    wrong = sorted(set(written) ^ raised.keys())
    if wrong or len(set(written)) < len(written):
        raise SystemExit(f"docs/errors.yaml: every code once, and no other: {', '.join(wrong)}")
    parts = [
        NOTE,
        "# Errors\n",
        (
            "Every error has a stable code. Match on the code or, in Python, on the type, never on the text. In Python it\n"
            "is `error.code`; over HTTP `error.code` in the body; on the command line it shows with `--json`. How to get\n"
            "out of the common ones is in [troubleshooting](troubleshooting.md).\n"
        ),
    ]
    for title, group in groups.items():
        rows = [
            (f"`{code}`", ", ".join(sorted(raised[code])), meaning, remedy)
            for code, (meaning, remedy) in sorted(group.items())
        ]
        parts += [f"## {title}\n", table(("code", "comes as", "meaning", "what to do"), rows)]
    return "\n".join(parts)


def error_codes() -> dict[str, set[str]]:
    """Return every code in the package's source, and as what it comes: an error class, or an HTTP status."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        takers = code_takers(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                for each in node.body:
                    if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == "default_code":
                        found[ast.literal_eval(each.value)].add(f"`{node.name}`")
            elif isinstance(node, ast.FunctionDef):
                for name, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
                    if name.arg == "code" and isinstance(default, ast.Constant) and default.value:
                        found[str(default.value)].add(f"`{ast.unparse(node.returns or node)}`")
            elif isinstance(node, ast.Call):
                code = code_of(node, takers)
                if code is not None:
                    found[code].add(comes_as(node))
    return found


# Called in many modules, so they are known by name: where their code stands.
_EVERYWHERE = {"HttpError": 1, "RefusalError": 1, "unauthorized": 0}


def code_takers(tree: ast.Module) -> dict[str, int]:
    """Return the functions of a module that take a `code`, and at which place."""
    takers = dict(_EVERYWHERE)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            names = [each.arg for each in node.args.args if each.arg not in ("self", "cls")]
            if "code" in names:
                takers[node.name] = names.index("code")
    return takers


def code_of(call: ast.Call, takers: dict[str, int]) -> str | None:
    """Return the code that a call is given as a literal."""
    name = ast.unparse(call.func).rpartition(".")[2]
    place = takers.get(name)
    values = [each.value for each in call.keywords if each.arg == "code"]
    if place is not None and place < len(call.args):
        values.append(call.args[place])
    for value in values:
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            return value.value
    return None


def comes_as(call: ast.Call) -> str:
    """Return `IdentityError`, or the HTTP status."""
    name = ast.unparse(call.func).rpartition(".")[2]
    statuses = [
        each.value
        for each in [*call.args, *(word.value for word in call.keywords if word.arg == "status")]
        if isinstance(each, ast.Constant) and type(each.value) is int
    ]
    if name == "unauthorized":
        return "HTTP 401"
    if name == "_refusal":  # the gateway's, about an upstream
        return f"HTTP {statuses[0]}" if statuses else "HTTP 502"
    if statuses or name == "HttpError":
        return f"HTTP {statuses[0]}" if statuses else "HTTP 4xx"
    return f"`{name}`" if name.endswith("Error") else "`AuditError`"


def catalogue() -> str:
    """Return the list of the actions that ship with the package."""
    registry = load_actions([])
    rows = [
        (
            f"`{action.reference}`",
            action.risk.value,
            ", ".join(action.resource_types),
            "yes" if action.reversible else "no",
            ", ".join(f"`{name}`" for name in action.params.get("properties", {})),
            action.description,
        )
        for action in registry
    ]
    return "\n".join(
        [
            NOTE,
            "# Catalogue of actions\n",
            (
                f"These {len(registry)} actions ship with the package. `agentguard actions show NAME` shows one with its\n"
                "whole schema, prechecks and privileges. `registry.catalogue: false` leaves them all out.\n"
            ),
            table(("action", "risk", "resource types", "reversible", "parameters", "what it does"), rows),
        ]
    )


PAGES: dict[str, Callable[[], str]] = {
    "api.md": api,
    "catalogue.md": catalogue,
    "cli.md": command_line,
    "configuration.md": configuration,
    "errors.md": errors,
}


def main() -> int:
    """Write the pages; with `--check` write none and return 1 if one is not as it would be written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page is out of date")
    check = parser.parse_args().check
    stale = []
    for name, make in PAGES.items():
        path, text = FOLDER / name, make()
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not check:
                path.write_text(text, encoding="utf-8")
    if stale:
        sys.stderr.write(f"{'out of date' if check else 'wrote'}: {', '.join(stale)}\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
