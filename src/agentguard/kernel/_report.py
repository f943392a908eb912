"""The report of a run: one value that is printed, written as JSON, or shown as a page."""

from __future__ import annotations

from datetime import datetime
from importlib import resources
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import Effect
from agentguard.kernel._cgroups import own_container
from agentguard.kernel._check import Check
from agentguard.kernel._tally import AttemptUse, FileUse, HostUse, NameUse, ProgramUse, Use

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentguard.kernel._run import Ended
    from agentguard.kernel._tally import Tally


class FileClass(msgspec.Struct, frozen=True):
    """The files of one class together."""

    klass: str
    files: int
    read: int
    written: int
    deleted: int
    read_bytes: int
    written_bytes: int
    strictest: Effect | None


class AlertSeen(msgspec.Struct, frozen=True):
    """A thing that was done and not decided so: how much it matters, and what it was."""

    severity: str
    reason: str
    event_id: str


class Report(msgspec.Struct, frozen=True):
    """What a run touched, and what the policy says of it. Times are UTC, sizes bytes.

    `tier` is `observe`, or `none` where nothing could be seen; `decided_by` is `sidecar`, `process` or `nobody`.
    `container` has the ids of container and pod in which it ran, where there are. `would_be` counts things by the effect that enforcement would have had for them. `dropped` counts records
    that were lost, by class; `enforced` is the tier of the jail, empty where there was none, `protections` say of each whether
    it was on (`on: …`, `off: …`), `denied` what was refused, each once, a sentence each; `alerts` are where what was done contradicts what was decided; `left_out` things that are in the counts and not in
    the lists; `unrecorded` decisions that the audit log did not take.
    """

    run: str
    principal: str
    command: list[str]
    started: datetime
    duration_s: float
    exit_code: int
    tier: str
    decided_by: str
    checks: list[Check] = []
    missing: dict[str, str] = {}
    container: dict[str, str] = {}
    unseen: list[str] = []
    processes: int = 0
    ended_by_us: int = 0
    events: int = 0
    dropped: dict[str, int] = {}
    left_out: int = 0
    errors: int = 0
    unrecorded: int = 0
    would_be: dict[str, int] = {}
    classes: list[FileClass] = []
    files: list[FileUse] = []
    programs: list[ProgramUse] = []
    hosts: list[HostUse] = []
    names: list[NameUse] = []
    attempts: list[AttemptUse] = []
    alerts: list[AlertSeen] = []
    enforced: str = ""
    protections: dict[str, str] = {}
    denied: list[str] = []

    @property
    def is_complete(self) -> bool:
        """Whether nothing was lost on the way."""
        return not (self.dropped or self.left_out or self.errors)


def tell(tally: Tally, ended: Ended, **facts: Any) -> Report:
    """Return the report of what `tally` holds; `facts` are those that it cannot know."""
    uses: list[Use] = [
        *tally.files.values(), *tally.programs.values(), *tally.hosts.values(), *tally.names.values(),
        *tally.attempts.values(),
    ]  # fmt: skip
    counts = {effect.value: sum(use.effect is effect for use in uses) for effect in Effect}
    return Report(
        duration_s=round(ended.duration_s, 3),
        exit_code=ended.exit_code,
        processes=tally.tree.started,
        ended_by_us=ended.left,
        events=tally.events,
        dropped=ended.drops,
        left_out=tally.left_out,
        errors=ended.errors,
        container=own_container(),
        would_be={name: count for name, count in counts.items() if count},
        classes=_classes(tally.files.values()),
        files=sorted(tally.files.values(), key=lambda use: (-_rank(use), use.path)),
        programs=sorted(tally.programs.values(), key=lambda use: (-_rank(use), -use.runs, use.path)),
        hosts=sorted(tally.hosts.values(), key=lambda use: (-_rank(use), use.host, use.port)),
        names=sorted(tally.names.values(), key=lambda use: (-_rank(use), use.name)),
        attempts=sorted(tally.attempts.values(), key=lambda use: (-_rank(use), use.what, use.detail)),
        **facts,
    )


def _rank(use: Use) -> int:
    return -1 if use.effect is None else use.effect.rank


def _classes(files: Iterable[FileUse]) -> list[FileClass]:
    groups: dict[str, list[FileUse]] = {}
    for each in files:
        groups.setdefault(each.klass, []).append(each)
    made = [
        FileClass(
            name,
            len(group),
            sum("read" in each.access or "list" in each.access for each in group),
            sum("write" in each.access for each in group),
            sum("delete" in each.access for each in group),
            sum(each.read_bytes for each in group),
            sum(each.written_bytes for each in group),
            max(group, key=_rank).effect,
        )
        for name, group in groups.items()
    ]
    return sorted(
        made, key=lambda each: (-(each.strictest.rank if each.strictest is not None else -1), each.klass)
    )


def to_html(report: Report) -> str:
    """Return the report as one page, without script and without anything from elsewhere; all of it is escaped."""
    from jinja2 import Environment, StrictUndefined

    source = (resources.files("agentguard.kernel") / "templates" / "report.html").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(source).render(report=report)
