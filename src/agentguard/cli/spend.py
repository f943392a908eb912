"""`agentguard spend`: status, report, advice, validate; prices are in a file of their own."""

from __future__ import annotations

import io
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from agentguard.cli._exit import ExitCode
from agentguard.cli._options import environ, moment, output_options, project_option
from agentguard.cli._output import Output, counted, escaped, plain, table, to_json
from agentguard.cli.spend_prices import prices
from agentguard.config import load_config
from agentguard.core import Spender, SpendFilter

if TYPE_CHECKING:
    from pathlib import Path

    from agentguard.config import Config
    from agentguard.core import SpendEntry
    from agentguard.spend import Budgets, SpendLine

_BY = ("model", "agent", "project", "day", "session", "task", "key", "organisation", "provider", "kind")


@click.group("spend", short_help="Show what was spent, how far budgets are used, what models cost.")
def command() -> None:
    """Show what was spent, how far budgets are used, what models cost."""


command.add_command(prices)


@command.command("status")
@project_option
@output_options
def status(*, folder: Path, output: Output) -> None:
    """Show how far each budget is used, for each account that something was reserved on in its window."""
    from agentguard.assembly import read_budgets

    config = load_config(folder, environ())
    budgets = read_budgets(config)
    rows = _levels(config, budgets)

    def text() -> None:
        columns = ("budget", "scope", "of", "spent", "reserved", "limit", "used", "until")
        if rows:
            table(columns, [[row["text"][name] for name in columns] for row in rows])
        else:
            click.echo(
                "nothing was spent yet"
                if budgets.budgets
                else f"there is no budget; write one into {plain(config.spend.budgets)}"
            )

    output.result([{name: value for name, value in row.items() if name != "text"} for row in rows], text)


def _levels(config: Config, budgets: Budgets) -> list[dict[str, Any]]:
    from agentguard.assembly import read_ledger, read_prices
    from agentguard.spend import amount_text, known_accounts

    ledger = read_ledger(config)
    if ledger is None:
        return []
    now = datetime.now(UTC)
    accounts = known_accounts(ledger, budgets, read_prices(config, budgets), now)
    levels = ledger.levels([account.claim(now, {}) for account in accounts])
    ledger.close()
    rows = []
    for account, level in zip(accounts, levels, strict=True):
        budget = account.budget
        if level.used:
            ends = budget.span(now).ends
            percent = level.used * 100 // level.limit if level.limit else 100
            facts = {
                "budget": budget.id,
                "scope": budget.scope,
                "of": account.value,
                "unit": budget.unit.value,
                "spent": level.spent,
                "reserved": level.reserved,
                "limit": level.limit,
                "percent": percent,
                "until": ends,
            }
            amounts = {
                name: amount_text(budget.unit, getattr(level, name))
                for name in ("spent", "reserved", "limit")
            }
            until = f"{ends:%Y-%m-%d %H:%M}" if ends else "-"
            rows.append({**facts, "text": {**facts, **amounts, "used": f"{percent} %", "until": until}})
    return rows


@command.command("report")
@click.option(
    "--by",
    multiple=True,
    type=click.Choice(_BY),
    default=("model",),
    show_default=True,
    help="What to group by; may be given several times.",
)
@click.option("--agent", default="", help="Only this agent.")
@click.option("--session", default="", help="Only this session.")
@click.option("--model", default="", help="Only this model.")
@click.option("--since", callback=moment, help="Only from then on: a date, a time (UTC), or 8h, 30d ago.")
@click.option("--until", callback=moment, help="Only before then.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["table", "csv", "focus-csv", "focus-json"]),
    default="table",
    show_default=True,
    help="FOCUS columns are for billing systems.",
)
@project_option
@output_options
def report(
    *,
    by: tuple[str, ...],
    agent: str,
    session: str,
    model: str,
    since: datetime | None,
    until: datetime | None,
    kind: str,
    folder: Path,
    output: Output,
) -> None:
    """Show what was spent on what."""
    from agentguard.spend import FOCUS_COLUMNS, SpendLine, add_up, focus_rows, usd_text, write_csv

    wanted = SpendFilter(Spender(agent=agent, session=session), model, since=since, until=until)
    entries = _entries(load_config(folder, environ()), wanted)
    if kind == "focus-json":
        click.echo(to_json(list(focus_rows(entries))))
        return
    if kind == "focus-csv":
        rows = focus_rows(entries)
        _print_csv(lambda stream: write_csv(FOCUS_COLUMNS, rows, stream))
        return
    lines = add_up(entries, by)
    figures = [name for name in SpendLine.__struct_fields__ if name not in ("group", "cost", "reserved")]
    if kind == "csv":
        flat = [_flat(line, usd_text) for line in lines]
        columns = (*by, "cost_usd", "reserved_usd", *figures)
        _print_csv(lambda stream: write_csv(columns, flat, stream))
        return

    def text() -> None:
        columns = [*by, "calls", "USD", "tokens in", "cached", "out", "flags"]
        table(columns, [[*line.group.values(), *_cells(line, usd_text)] for line in lines])
        click.echo(f"{counted(sum(line.calls for line in lines), 'call')}, {_total(lines, usd_text)} USD")

    output.result(lines, text)


def _cells(line: SpendLine, money: Any) -> list[str]:
    flags = [
        f"{count} {name}" for name in ("overruns", "estimated", "unpriced") if (count := getattr(line, name))
    ]
    if line.reserved:
        flags.append(f"{money(line.reserved)} USD reserved")
    numbers = (line.input_tokens, line.cached_tokens, line.output_tokens)
    return [str(line.calls), money(line.cost), *map(str, numbers), ", ".join(flags)]


def _total(lines: list[SpendLine], money: Any) -> str:
    return str(money(sum(line.cost for line in lines)))


def _flat(line: SpendLine, money: Any) -> dict[str, Any]:
    figures = {name: getattr(line, name) for name in line.__struct_fields__ if name != "group"}
    return {**line.group, **figures, "cost_usd": money(line.cost), "reserved_usd": money(line.reserved)}


def _print_csv(write: Any) -> None:
    stream = io.StringIO()
    write(stream)
    text = stream.getvalue().replace("\r\n", "\n")
    click.echo(escaped(text) if sys.stdout.isatty() else text, nl=False)


def _entries(config: Config, wanted: SpendFilter) -> list[SpendEntry]:
    from agentguard.assembly import read_ledger
    from agentguard.spend import history

    ledger = read_ledger(config)
    if ledger is None:
        return []
    found = list(history(ledger, wanted))
    ledger.close()
    return found


@command.command("advice")
@click.option("--since", callback=moment, help="Look at calls from then on: a date, or 30d ago.")
@click.option(
    "--model", "cheaper", multiple=True, help="Compare with this model too; may be given several times."
)
@project_option
@output_options
def advice(*, since: datetime | None, cheaper: tuple[str, ...], folder: Path, output: Output) -> None:
    """Say where money could be saved, with the arithmetic.

    Cheaper models are looked for among those that the project used, and those to which its budgets downgrade.
    """
    from agentguard.assembly import read_budgets, read_prices
    from agentguard.spend import advise, usd_text

    config = load_config(folder, environ())
    budgets = read_budgets(config)
    named = {model for budget in budgets.budgets for step in budget.steps for _, model in step.to}
    entries = _entries(config, SpendFilter(since=since))
    found = advise(entries, read_prices(config, budgets), [*cheaper, *sorted(named)], datetime.now(UTC))

    def text() -> None:
        for each in found:
            kind = click.style(each.kind, bold=True)
            click.echo(f"{kind}: {plain(each.says)} (up to {usd_text(each.saves)} USD)")
        if not found:
            click.echo(f"nothing to recommend after {counted(len(entries), 'call')}")

    output.result(found, text)


@command.command("validate")
@project_option
@output_options
def validate(*, folder: Path, output: Output) -> int:
    """Say what is wrong, or probably not meant, in the budgets."""
    from agentguard.assembly import read_budgets, read_prices
    from agentguard.spend import check_budgets

    config = load_config(folder, environ())
    budgets = read_budgets(config)
    found = check_budgets(budgets, read_prices(config, budgets), datetime.now(UTC))

    def text() -> None:
        for each in found:
            click.echo(f"{plain(config.spend.budgets)}: {plain(f'`{each.subject}` {each.message}')}")
        count = counted(len(found), "finding") if found else "nothing to report"
        click.echo(f"{counted(len(budgets.budgets), 'budget')}, {count}")

    output.result({"budgets": [each.id for each in budgets.budgets], "findings": found}, text)
    return ExitCode.ALLOW
