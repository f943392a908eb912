"""`agentguard policy`: validate, test, explain, template."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from agentguard.cli._exit import ExitCode, of_effect
from agentguard.cli._options import Asked, environ, output_options, project_option, request_options
from agentguard.cli._output import Output, counted, effect_text, plain, table, to_json
from agentguard.cli._why import facts_text, origins_text, show_concerns, show_findings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentguard.core import Decision, NearMiss
    from agentguard.pdp import CaseResult
    from agentguard.policy import Concern, LintFinding, PolicyCounts, PolicySet, Witness

TEST_FOLDER = "tests"


@click.group("policy", short_help="Validate, test and explain rules; apply templates.")
def command() -> None:
    """Validate, test and explain rules; apply templates."""


@command.command("validate")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--strict", is_flag=True, help="Exit with 3 when rules conflict.")
@project_option
@output_options
def validate(paths: tuple[Path, ...], *, strict: bool, folder: Path, output: Output) -> int:
    """Say what is wrong, or probably not meant, in the rules.

    Without PATHS the project's own rule files are looked at. A conflict is shown with a request that both rules
    apply to. An obligation that nobody can keep ends with exit code 3, and with --strict a conflict too.
    """
    from agentguard.assembly import load_project
    from agentguard.documents import find_documents
    from agentguard.policy import LintKind, count_policies, load_policies

    project = load_project(folder)
    policies = project.policies.current
    if paths:
        files = [file for path in paths for file in (find_documents(path) if path.is_dir() else [path])]
        policies = load_policies(files)
    findings = project.lint(policies)
    conflicts = sum(each.kind is LintKind.CONFLICT for each in findings)
    data = {
        "version": policies.version,
        "rules": len(policies.rules),
        "own": count_policies(policies, shipped=False),
        "shipped": count_policies(policies, shipped=True),
        "conflicts": conflicts,
        "findings": [_finding_data(each) for each in findings],
    }
    output.result(data, lambda: _show_findings(policies, findings))
    # A rule that asks for what nobody can do is never meant: it denies, whatever it says.
    unkept = any(each.kind is LintKind.UNKNOWN_OBLIGATION for each in findings)
    refused = unkept or (conflicts and (strict or project.config.policy.strict))
    return ExitCode.CONFIGURATION if refused else ExitCode.ALLOW


def _finding_data(finding: LintFinding) -> dict[str, Any]:
    location = finding.location
    return {
        "kind": finding.kind,
        "rule": finding.rule,
        "other": finding.other,
        "message": finding.message,
        "file": location.file if location else None,
        "line": location.line if location else None,
        "witness": finding.witness,
    }


def _show_findings(policies: PolicySet, findings: list[LintFinding]) -> None:
    from agentguard.policy import PolicyCounts, count_policies

    for finding in findings:
        place = plain(f"{finding.location.file}:{finding.location.line}: ") if finding.location else ""
        kind = click.style(finding.kind.value, fg="yellow", bold=True)
        click.echo(f"{place}{kind}: " + plain(f"rule `{finding.rule}` {finding.message}"))
        if finding.witness is not None:
            click.echo(f"  for example: {plain(_witness_text(finding.witness))}")
    count = counted(len(findings), "finding") if findings else "nothing to report"
    own, shipped = (count_policies(policies, shipped=which) for which in (False, True))
    ships = f"; shipped: {_counts_text(shipped)}" if shipped != PolicyCounts() else ""
    click.echo(f"own: {_counts_text(own)}{ships}; {count}; {policies.version[:19]}")


def _counts_text(counts: PolicyCounts) -> str:
    parts = [counted(counts.rules, "rule")]
    parts += [
        counted(number, noun)
        for number, noun in ((counts.sequences, "sequence"), (counts.limits, "limit"))
        if number
    ]
    parts += ["a breaker"] if counts.breaker else []
    parts += ["cumulative risk"] if counts.cumulative_risk else []
    return ", ".join(parts)


def _witness_text(witness: Witness) -> str:
    who_ = witness.principal
    roles = f" (roles {', '.join(who_.roles)})" if who_.roles else ""
    params = to_json(witness.params, indent=None) if witness.params else "no parameters"
    when = f", at {witness.time:%a %H:%M} UTC"
    more = f"; stated: {facts_text(witness.facts)}" if witness.facts else ""
    more += f"; {origins_text(witness.provenance)}" if witness.provenance else ""
    return f"{who_.id}{roles} {witness.action} {witness.resource.id} with {params}{when}{more}"


@command.command("test")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, exists=True))
@project_option
@output_options
def test(paths: tuple[Path, ...], *, folder: Path, output: Output) -> int:
    """Run case files: requests, and the decisions that they must get.

    Without PATHS the files in the project's `tests` folder are run. Nothing is recorded. The exit code is 1 when
    a case fails.
    """
    from agentguard.assembly import load_project
    from agentguard.documents import find_documents, read
    from agentguard.pdp import run_cases

    project = load_project(folder)
    chosen = paths or (project.config.folder / TEST_FOLDER,)
    files = [file for path in chosen for file in (find_documents(path) if path.is_dir() else [path])]
    if not files:
        raise click.UsageError(f"there are no case files in `{', '.join(map(str, chosen))}`")
    results = [(file, result) for file in files for result in run_cases(read(file), project.world())]
    failed = [(file, result) for file, result in results if result.problems]
    data = {
        "passed": len(results) - len(failed),
        "failed": [
            {"file": str(file), "line": each.line, "name": each.name, "problems": each.problems}
            for file, each in failed
        ],
    }
    output.result(data, lambda: _show_cases(results))
    return ExitCode.FAILED if failed or not results else ExitCode.ALLOW


def _show_cases(results: list[tuple[Path, CaseResult]]) -> None:
    failed = 0
    for file, result in results:
        if result.problems:
            failed += 1
            mark = click.style("failed", fg="red", bold=True)
            click.echo(f"{plain(str(file))}:{result.line}: {mark}: {plain(result.name)}")
            for problem in result.problems:
                click.echo(f"  {plain(problem)}")
    click.echo(f"{len(results) - failed} passed, {failed} failed")


@command.command("explain")
@request_options
@project_option
@output_options
def explain(
    *,
    asked: Asked,
    folder: Path,
    output: Output,
) -> int:
    """Decide one request without recording it, and say of every rule about the action why it does not apply.

    What came before the request is not known here: of rules about more than one request it is said which look
    at this action, and where they stand.
    """
    from agentguard.assembly import load_project
    from agentguard.pdp import PolicyDecisionPoint, concerns_of, facts_of

    project = load_project(folder)
    request = asked.request(project)
    world = project.world()
    decision = PolicyDecisionPoint(world).decide(request, trace=True)
    about = concerns_of(world, request)
    # Where the parameters do not have the declared shape, a secret can stand anywhere in them.
    facts = {} if decision.stage in ("request", "schema") else facts_of(world, request)
    data = {**msgspec.to_builtins(decision), "facts": facts, "concerns": about}
    output.result(data, lambda: _show_explanation(decision, facts, about))
    return of_effect(decision.effect)


def _show_explanation(decision: Decision, facts: Mapping[str, Any], about: Sequence[Concern]) -> None:
    click.echo(f"{effect_text(decision.effect)}  {plain(decision.action)} on {plain(decision.resource)}")
    click.echo(f"  {plain(decision.reason)}")
    show_findings(decision)
    rule = f"rule {plain(decision.rule)}" if decision.rule else "no rule"
    click.echo(f"  decided by: {rule}, at stage {decision.stage}")
    if decision.risk is not None:
        risk = decision.risk
        click.echo(f"  risk: action {risk.action} x resource {risk.resource} = {risk.score} ({risk.effect})")
    if facts:
        click.echo(f"  facts: {plain(facts_text(facts))}")
    _show_misses(decision.near_misses)
    show_concerns(about)


def _show_misses(misses: tuple[NearMiss, ...]) -> None:
    if not misses:
        click.echo("  no other rule speaks of this action")
        return
    rows = [(miss.rule, miss.effect.value, miss.predicate) for miss in misses]
    table(("rule", "effect", "first predicate that failed"), rows)


@command.group("template")
def template() -> None:
    """List ready-made policies and copy one into the project."""


@template.command("list")
@output_options
def template_list(output: Output) -> None:
    """List the templates."""
    from agentguard.policy import templates

    found = templates()
    data = [{"name": each.name, "summary": each.summary} for each in found]
    output.result(data, lambda: table(("template", "summary"), [(each.name, each.summary) for each in found]))


@template.command("apply")
@click.argument("name")
@click.option("--force", is_flag=True, help="Overwrite the file if it is there.")
@project_option
@output_options
def template_apply(name: str, *, force: bool, folder: Path, output: Output) -> None:
    """Copy the template NAME into the project's policy folder; a running sidecar takes it up."""
    from agentguard.config import load_config
    from agentguard.core import ConfigError, Location
    from agentguard.policy import find_template

    found = find_template(name)
    target = load_config(folder, environ()).policy_folder / f"{name}.yaml"
    if target.exists() and not force:
        raise ConfigError(
            "is there already", location=Location(str(target)), hint="use --force to overwrite it"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(found.text, encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"cannot be written: {reason}", location=Location(str(target))) from None
    output.result(
        {"template": name, "file": str(target)},
        lambda: click.echo(f"wrote {target}; see what it means with `agentguard policy validate`"),
    )
