"""`agentguard spend prices`: show, update, check."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentguard.cli._exit import ExitCode
from agentguard.cli._options import environ, output_options, project_option
from agentguard.cli._output import Output, counted, plain, table
from agentguard.config import load_config
from agentguard.core import ConfigError, Location

if TYPE_CHECKING:
    from agentguard.spend import ModelPrice, PriceTable

_MICRO = 1_000_000
_SHOWN = 40


@click.group("prices", short_help="Show, update and check what models cost.")
def prices() -> None:
    """Show, update and check what models cost."""


def _table_of(folder: Path) -> PriceTable:
    from agentguard.assembly import read_budgets, read_prices

    config = load_config(folder, environ())
    return read_prices(config, read_budgets(config))


@prices.command("show")
@click.argument("model", default="")
@click.option("--provider", default="", help="Only this provider.")
@project_option
@output_options
def show(model: str, *, provider: str, folder: Path, output: Output) -> int:
    """Show what MODEL costs, in dollars per million tokens; without it, all models.

    With --provider, MODEL is found as a call finds it, dated names included; without, every model whose name holds
    the text is shown. The exit code is 1 when there is none.
    """
    known = _table_of(folder)
    if provider and model:
        one = known.find(provider, model)
        found = [(provider, one)] if one is not None else []
    else:
        found = [
            (name, each)
            for name in known.providers
            if provider in ("", name)
            for each in known.models(name)
            if model.lower() in each.id.lower()
        ]
    rows = [_row(name, each) for name, each in found]
    data = {"source": known.listed.source, "date": known.listed.date, "models": rows}
    output.result(data, lambda: _show(known, rows))
    return ExitCode.ALLOW if rows else ExitCode.FAILED


def _row(provider: str, model: ModelPrice) -> dict[str, Any]:
    now = model.at(datetime.now(UTC).date())
    figures = {name: _usd(getattr(now, name)) for name in ("input", "output", "cache_read", "cache_write")}
    return {
        "provider": provider,
        "model": model.id,
        **figures,
        "max_output_tokens": model.max_output or None,
        "tiers": sorted(model.tiers),
    }


def _usd(price: Any) -> str | None:
    """Return a price per million tokens in dollars; one that depends on the size of the input, from its first tier."""
    from agentguard.spend import usd_text

    if price is None:
        return None
    # A picodollar a token is a micro-dollar for a million of them.
    return usd_text(price) if isinstance(price, int) else f"{usd_text(price[0][1])}+"


def _show(known: PriceTable, rows: list[dict[str, Any]]) -> None:
    columns = ("provider", "model", "input", "output", "cache_read", "cache_write", "max_output_tokens")
    cells = [["-" if row[name] is None else row[name] for name in columns] for row in rows[:_SHOWN]]
    table(("provider", "model", "input", "output", "cached", "cache write", "max output"), cells)
    more = f", the first {_SHOWN} shown" if len(rows) > _SHOWN else ""
    click.echo(
        f"{counted(len(rows), 'model')}{more}; USD per million tokens, `+`: more for long inputs;"
        f" {plain(known.listed.source)} of {known.listed.date}"
    )


@prices.command("update")
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A price list as a file.",
)
@click.option(
    "--limits",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="LiteLLM's list of models: how much each may answer.",
)
@project_option
@output_options
def update(*, source: Path | None, limits: Path | None, folder: Path, output: Output) -> None:
    """Write the project's price list: from a file, or from the installed package `genai-prices`.

    It takes the place of the shipped one until it is removed. Nothing is fetched.
    """
    from agentguard.spend import decode_prices, encode_prices, import_prices

    config = load_config(folder, environ())
    left_out: list[str] = []
    if source is not None:
        listed = decode_prices(_read(source))
    else:
        made = import_prices(
            datetime.now(UTC).date(), _read(limits) if limits else b"", limits.name if limits else ""
        )
        listed, left_out = made.listed, made.left_out
    _write(config.prices_file, encode_prices(listed))
    count = sum(len(each.models) for each in listed.providers.values())
    data = {
        "file": str(config.prices_file),
        "source": listed.source,
        "date": listed.date,
        "models": count,
        "left_out": left_out,
    }

    def text() -> None:
        click.echo(f"{counted(count, 'model')} in {plain(str(config.prices_file))}, {plain(listed.source)}")
        if left_out:
            click.echo(f"{counted(len(left_out), 'model')} left out; --json names them")

    output.result(data, text)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(
            f"cannot be read: {reason}", code="prices_invalid", location=Location(str(path))
        ) from None


def _write(path: Path, data: bytes) -> None:
    """Replace a file as a whole: who reads it meanwhile sees the old one or the new one."""
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.write_bytes(data)
        beside.replace(path)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(
            f"cannot be written: {reason}", code="prices_invalid", location=Location(str(path))
        ) from None


@prices.command("check")
@click.argument("second", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@project_option
@output_options
def check(second: Path, *, folder: Path, output: Output) -> int:
    """Compare the price list with LiteLLM's list of models; the exit code is 1 where they differ.

    SECOND is `model_prices_and_context_window_backup.json` of its package.
    """
    from agentguard.spend import check_prices

    found = check_prices(_table_of(folder), _read(second), datetime.now(UTC).date())

    def text() -> None:
        columns = ("provider", "model", "price", "ours", "theirs")
        rows = [
            (each.provider, each.model, each.price, _usd(each.ours) or "-", _usd(each.theirs))
            for each in found.differences
        ]
        table(columns, rows)
        click.echo(
            f"{found.compared} prices compared, {counted(len(rows), 'difference')},"
            f" {counted(found.only_theirs, 'model')} only there; USD per million tokens"
        )

    output.result(found, text)
    return ExitCode.FAILED if found.differences else ExitCode.ALLOW
