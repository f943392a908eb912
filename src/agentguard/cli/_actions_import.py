"""`agentguard actions import`: tools of other frameworks as action files, with the reasons beside them."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentguard.cli._options import environ, output_options, project_option
from agentguard.cli._output import Output, counted, plain, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentguard.registry import ActionRegistry, ImportedAction, Merged

FORMATS = ("auto", "openai", "anthropic", "mcp", "openapi", "python")
STDIN = "-"


@click.command("import")
@click.argument("source", metavar="FILE|MODULE|-")
@click.option(
    "--format", "format_", type=click.Choice(FORMATS), default="auto", help="What FILE is.", show_default=True
)
@click.option(
    "--output",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The action file to write.  [default: FILE's name in the project's actions folder]",
)
@click.option("--dry-run", is_flag=True, help="Show what would be written, and write nothing.")
@click.option(
    "--force", is_flag=True, help="Write the file anew if it is there; what you changed in it stays."
)
@project_option
@output_options
def command(
    source: str,
    format_: str,
    target: Path | None,
    *,
    dry_run: bool,
    force: bool,
    folder: Path,
    output: Output,
) -> None:
    """Turn the tools in FILE into actions: what each does, how risky it is, what its arguments are, and why.

    FILE is a list of OpenAI or Anthropic tools, the result of an MCP server's tools/list, an OpenAPI document, or
    Python source, whose public functions are read without running it; a dotted MODULE name finds such a source.
    Nothing is fetched. Correct in the file what was inferred wrongly: importing again keeps it.
    """
    from agentguard.config import load_config
    from agentguard.registry import import_text

    actions_folder = load_config(folder, environ()).actions_folder
    text, file, format_ = _read(source, format_)
    place = target or actions_folder / f"{_stem(file)}.yaml"
    others = _declared_elsewhere(actions_folder, place)
    imported = import_text(text, file=file, format=format_, versions=_versions(others))
    _check_names(imported, others)
    merged = _composed(imported, place, source=file, force=force, dry_run=dry_run)
    if not dry_run:
        _write(place, merged.text)
    data = {
        "file": None if dry_run else str(place),
        "actions": [_data(each) for each in imported],
        "kept": merged.kept,
        "gone": list(merged.gone),
    }
    output.result(data, lambda: _show(imported, merged, None if dry_run else place))


def _read(source: str, format_: str) -> tuple[str, str, str]:
    """Return the text of a source, its name, and its format.

    Raises:
        UsageError: there is no such file and no such module.
    """
    from agentguard.documents import read_text

    if source == STDIN:
        try:
            return sys.stdin.buffer.read().decode("utf-8-sig"), "<stdin>", format_
        except UnicodeDecodeError:
            raise click.UsageError("standard input is not UTF-8") from None
    path = Path(source)
    if not path.is_file() and format_ in ("auto", "python"):
        found = _module_file(source)
        if found is not None:
            return read_text(found, name=source), source, "python"
    return read_text(path), source, format_


def _module_file(name: str) -> Path | None:
    """Return the source of a module by its dotted name, found without running anything."""
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts):
        return None
    for folder in (Path.cwd(), *(Path(each) for each in sys.path if each)):
        for path in (folder.joinpath(*parts).with_suffix(".py"), folder.joinpath(*parts, "__init__.py")):
            if path.is_file():
                return path
    return None


def _stem(file: str) -> str:
    return (
        "imported" if file == "<stdin>" else Path(file).stem if "/" in file or Path(file).is_file() else file
    )


def _declared_elsewhere(actions_folder: Path, place: Path) -> ActionRegistry:
    from agentguard.documents import find_documents
    from agentguard.registry import load_actions

    files = find_documents(actions_folder) if actions_folder.is_dir() else []
    return load_actions([each for each in files if each.resolve() != place.resolve()])


def _versions(others: ActionRegistry) -> Mapping[str, int]:
    """Return by name the version that is free, for names that ship with the package."""
    from agentguard.registry import load_actions

    shipped = set(load_actions([]).names())
    return {each.name: each.version + 1 for each in others if each.name in shipped}


def _check_names(imported: tuple[ImportedAction, ...], others: ActionRegistry) -> None:
    """Refuse what the project declares already in another file.

    Raises:
        RegistryError: it does.
    """
    from agentguard.core import RegistryError

    for each in imported:
        if others.resolve(each.action.reference) is not None:
            raise RegistryError(
                f"`{each.action.reference}` is declared in another file of the project",
                hint="give --output that file to import into it, or remove it there",
            )


def _composed(
    imported: tuple[ImportedAction, ...], place: Path, *, source: str, force: bool, dry_run: bool
) -> Merged:
    """Return what the file will hold: with a file that is there, what was changed in it.

    Raises:
        ConfigError: the file is there, and it was not said that it may be written.
    """
    from agentguard.core import ConfigError, Location
    from agentguard.documents import read_text
    from agentguard.registry import Merged, merge_actions, write_actions

    if not place.exists():
        return Merged(write_actions(imported, source=source), {}, ())
    if not force and not dry_run:
        raise ConfigError(
            "is there already",
            location=Location(str(place)),
            hint="use --force to write it anew; what you changed in it stays",
        )
    return merge_actions(imported, read_text(place), file=str(place), source=source)


def _write(place: Path, text: str) -> None:
    """Write the file whole or not at all.

    Raises:
        ConfigError: it cannot be written.
    """
    from agentguard.core import ConfigError, Location

    draft = place.with_name(f".{place.name}.new")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        draft.replace(place)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"cannot be written: {reason}", location=Location(str(place))) from None


def _data(each: ImportedAction) -> dict[str, Any]:
    action = each.action
    return {
        "tool": each.tool,
        "action": action.reference,
        "access": action.access,
        "risk": action.risk,
        "flow": action.flow,
        "arguments": action.arguments,
        "because": each.because,
        "unsure": each.unsure,
        "notes": each.notes,
    }


def _show(imported: tuple[ImportedAction, ...], merged: Merged, place: Path | None) -> None:
    rows: list[tuple[str, str, str]] = []
    for each in imported:
        action = each.action
        sink = f", sends {action.flow.sink.value}" if action.flow and action.flow.sink else ""
        access = action.access.value if action.access else ""
        because = f"{each.because['access']}; risk: {each.because['risk']}"
        rows.append(
            (action.reference, f"{access}, {action.risk.value}{sink}", _reason(each, "access", because))
        )
        for pointer, argument in action.arguments.items():
            kind = f", {argument.kind}" if argument.kind else ""
            why = _reason(each, pointer, each.because[pointer])
            rows.append((f"  {pointer}", f"{argument.role.value}{kind}", why))
    table(("tool", "inferred", "because"), rows)
    for each in imported:
        for note in each.notes:
            click.echo(f"{plain(each.tool)}: {plain(note)}")
    _show_end(imported, merged, place)


def _reason(each: ImportedAction, field: str, because: str) -> str:
    return f"unsure: {because}" if field in each.unsure else because


def _show_end(imported: tuple[ImportedAction, ...], merged: Merged, place: Path | None) -> None:
    for name, fields in merged.kept.items():
        click.echo(f"kept as you wrote it in {plain(name)}: {plain(', '.join(fields))}")
    for reference in merged.gone:
        click.echo(f"no tool stands for {plain(reference)} any more; it stays in the file")
    unsure = sum(len(each.unsure) for each in imported)
    if unsure:
        click.echo(
            f"unsure of {counted(unsure, 'place')}: nothing says what it is, so the strict reading was taken"
        )
    count = counted(len(imported), "action")
    if place is None:
        click.echo(f"{count}; nothing was written")
    else:
        click.echo(f"wrote {count} to {plain(str(place))}; correct there what is wrong")
