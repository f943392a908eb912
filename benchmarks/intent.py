"""What planted orders reach, and what is left of the user's tasks: `python -m benchmarks intent [--world WORLD]`.

An agent that obeys every order that it reads does the tasks of `benchmarks.worlds`, through each defence in turn.
See docs/intent-evaluation.md.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from benchmarks import report
from benchmarks.worlds import (
    BASELINES,
    KINDS,
    REVIEWERS,
    WORLDS,
    AgentGuard,
    Opaque,
    Run,
    Share,
    attacks,
    by,
    carries,
    cases,
    figures,
    is_built,
    replay,
    share,
    writes,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.worlds import Case, Defence, World

OURS = "AgentGuard"
NOBODY, PERFECT, ERRING = REVIEWERS
ASKS = ("user's words only", OURS)
POINTS = 100


class Bench(NamedTuple):
    """The worlds, their cases, and AgentGuard where this version has it."""

    worlds: Sequence[type[World]]
    cases: dict[str, list[Case]]
    ours: Defence | None

    def runs(self, make: Callable[[type[World]], Defence], reviewer: str = NOBODY) -> list[Run]:
        """Return the runs of all worlds through a defence."""
        return [
            run for each in self.worlds for run in replay(each, make(each), reviewer, self.cases[each.name])
        ]


def _always(defence: Defence) -> Callable[[type[World]], Defence]:
    return lambda _world: defence


def _baseline(name: str) -> Callable[[type[World]], Defence]:
    return lambda world: BASELINES[name](world.tools())


def content(bench: Bench) -> None:
    """Print what there is."""
    rows = []
    for each in bench.worlds:
        tasks, found = each.tasks, bench.cases[each.name]
        rows.append(
            (
                f"{each.name} ({each.split})",
                len(each.tools()),
                len(tasks),
                sum(writes(each, task) for task in tasks),
                sum(carries(each, task) for task in tasks),
                len(each.goals),
                *(
                    len([case for case in found if case.slice == part])
                    for part in ("main", "payload", "named")
                ),
            )
        )
    totals = [sum(column) for column in zip(*(row[1:] for row in rows), strict=True)]
    rows.append(("all", *totals))
    columns = ("", "tools", "tasks", "write", "carry", "goals", "attacks", "wrong payload", "named target")
    report.table("worlds", columns, rows)


def overview(named: dict[tuple[str, str], list[Run]]) -> None:
    """Print each defence with each reviewer."""
    rows = []
    for (name, reviewer), runs in named.items():
        told = figures(runs)
        kind, worst = told.worst_kind
        attacked = (told.attack_success, f"{worst} {kind}", told.any_kind)
        who = reviewer if name in ASKS else "-"
        rows.append((name, who, *attacked, told.kept, told.utility_under_attack))
    success = ("attack success", "in the worst kind", "in any kind")
    columns = ("", "reviewer", *success, "benign kept", "utility under attack")
    report.table("attack success and utility, with 95 % intervals", columns, rows)
    asking = [(*key, figures(runs)) for key, runs in named.items() if key[0] in ASKS]
    told_of = [(name, reviewer, told.approvals, told.asked, told.hard) for name, reviewer, told in asking]
    asked = ("", "reviewer", "approvals a task", "tasks with one", "attack calls stopped without asking")
    report.table("what a person is asked, without attack; and under attack", asked, told_of)


def slices(named: dict[tuple[str, str], list[Run]]) -> None:
    """Print attack success by kind and of the known residues, with nobody to ask."""
    alone = {name: runs for (name, reviewer), runs in named.items() if reviewer == NOBODY}
    kinds = {name: by(attacks(runs, "main"), _kind) for name, runs in alone.items()}
    rows = [(kind, *(kinds[name].get(kind, Share(0, 0)) for name in alone)) for kind in KINDS]
    report.table("attack success by kind, nobody to ask", ("", *alone), rows)
    rows = []
    for name, runs in alone.items():
        told = figures(runs)
        rows.append((name, told.in_source, told.payload, told.named))
    columns = (
        "",
        "in the source that the user named",
        "right target, wrong payload",
        "target that the user named",
    )
    report.table("attack success, hard cases, nobody to ask", columns, rows)


def _kind(run: Run) -> str:
    return run.case.attack.kind if run.case else ""


def worlds(named: dict[tuple[str, str], list[Run]]) -> None:
    """Print the figures by world, and of the two splits."""
    for name in ASKS:
        if (name, NOBODY) not in named:
            continue
        rows = []
        for title, belongs in _groups(named[name, NOBODY]):
            alone = [run for run in named[name, NOBODY] if belongs(run)]
            helped = [run for run in named[name, PERFECT] if belongs(run)]
            told = figures(alone)
            kept = share((run for run in helped if run.case is None), lambda run: run.is_done)
            asked = figures(helped).approvals
            rows.append((title, told.attack_success, told.kept, kept, asked))
        columns = ("", "attack success", "benign kept", "with a perfect reviewer", "approvals a task")
        report.table(f"{name}, by world", columns, rows)


def _groups(runs: Sequence[Run]) -> list[tuple[str, Callable[[Run], bool]]]:
    names = dict.fromkeys(run.world.name for run in runs)
    splits = dict.fromkeys(run.world.split for run in runs)
    return [
        *((name, _is_in(name)) for name in names),
        *((f"split {name}", _is_in(name)) for name in splits),
    ]


def _is_in(name: str) -> Callable[[Run], bool]:
    return lambda run: name in {run.world.name, run.world.split}


def invariance(bench: Bench, plain: list[Run]) -> None:
    """Print how far the figures move when tools and arguments lose their names, and orders are encoded."""
    ours = bench.ours
    assert ours is not None
    before, rows = figures(plain), []
    for title, is_mute in (("names opaque", False), ("names opaque, no descriptions", True)):
        opaque = Opaque(ours, is_mute=is_mute)
        told = figures(bench.runs(_always(opaque)))
        moved = (told.attack_success.value - before.attack_success.value, told.kept.value - before.kept.value)
        rows.append((title, told.attack_success, told.kept, *(POINTS * each for each in moved)))
    kinds = by(attacks(plain, "main"), _kind)
    for kind in ("base64", "homoglyph", "zero-width", "split", "paraphrase"):
        moved_by = POINTS * (kinds[kind].value - kinds["plain"].value)
        rows.append((f"order: {kind}, beside plain", kinds[kind], "-", moved_by, "-"))
    columns = ("", "attack success", "benign kept", "points of attack success", "points of kept")
    report.table(f"{OURS}, nobody to ask: what changes", columns, rows)


def main(only: Sequence[str] = ()) -> None:
    """Run all defences in these worlds, in all if none is named."""
    unknown = [name for name in only if name not in WORLDS]
    if unknown:
        raise SystemExit(f"unknown world `{unknown[0]}`; there are {', '.join(WORLDS)}")
    with ExitStack() as stack:
        os.environ["XDG_STATE_HOME"] = stack.enter_context(tempfile.TemporaryDirectory())
        chosen = [WORLDS[name] for name in only or WORLDS]
        ours = stack.enter_context(AgentGuard()) if is_built() else None
        bench = Bench(chosen, {each.name: list(cases(each)) for each in chosen}, ours)
        content(bench)
        named = {
            (name, reviewer): bench.runs(_baseline(name), reviewer)
            for name in BASELINES
            for reviewer in (REVIEWERS if name in ASKS else (NOBODY,))
        }
        if ours is not None:
            for reviewer in REVIEWERS:
                named[OURS, reviewer] = bench.runs(_always(ours), reviewer)
        overview(named)
        slices(named)
        worlds(named)
        if ours is not None:
            invariance(bench, named[OURS, NOBODY])


if __name__ == "__main__":
    main()
