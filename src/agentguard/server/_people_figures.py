"""Approvals and notices, as Prometheus has them: labels are states, kinds of steps and the settings' channels."""

from __future__ import annotations

import logging
import threading
from collections import Counter, OrderedDict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from agentguard.core import ApprovalError, ApprovalFilter, ApprovalState, NotifyError, StepKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from prometheus_client import Metric

    from agentguard.core import ApprovalEngine, StoredApproval
    from agentguard.notify import State

_LOG = logging.getLogger("agentguard.server")
# A scrape must not read, nor remember, a table of any size.
_MOST, _BATCH = 10_000, 1_000
_OPEN = {
    "pending": ApprovalFilter(states=(ApprovalState.PENDING,)),
    "approved": ApprovalFilter(states=(ApprovalState.APPROVED,)),
    "effect_unknown": ApprovalFilter(effect_unknown=True),
    "awaits_review": ApprovalFilter(awaits_review=True),
}


class ApprovalFigures:
    """Counts approvals at each scrape; what was reached before this was made does not count."""

    def __init__(self, engine: ApprovalEngine) -> None:
        self._engine = engine
        self._since = datetime.now(UTC)
        self._seq: int | None = None
        # How many steps of an approval are counted, of those that changed last.
        self._counted: OrderedDict[str, int] = OrderedDict()
        self._reached: Counter[str] = Counter()
        self._lock = threading.Lock()

    def collect(self) -> Iterable[Metric]:
        """Yield how many approvals stand where, and how often each status was reached."""
        standing = GaugeMetricFamily(
            "agentguard_approvals", "Approvals that people have to see to", labels=("state",)
        )
        reached = CounterMetricFamily(
            "agentguard_approval_steps", "Statuses that approvals reached", labels=("status",)
        )
        try:
            for state, wanted in _OPEN.items():
                standing.add_metric((state,), len(self._engine.find(wanted, limit=_MOST)))
            with self._lock:
                self._catch_up()
        except ApprovalError as error:
            _LOG.warning("approvals cannot be counted: %s", error.message)
            return
        for kind in StepKind:
            reached.add_metric((kind.value,), self._reached[kind.value])
        yield from (standing, reached)

    def _catch_up(self) -> None:
        if self._seq is None:
            found = self._engine.find(ApprovalFilter(), limit=_MOST, newest=True)
            self._count(found)
            self._seq = found[-1].seq if found else 0
        while found := self._engine.find(ApprovalFilter(), after=self._seq, limit=_BATCH):
            self._count(found)
            self._seq = found[-1].seq

    def _count(self, found: Iterable[StoredApproval]) -> None:
        for approval in (each.approval for each in found):
            known = self._counted.pop(approval.id, 0)
            self._counted[approval.id] = len(approval.steps)
            self._reached.update(
                step.kind.value for step in approval.steps[known:] if known or step.at >= self._since
            )
            if len(self._counted) > _MOST:
                self._counted.popitem(last=False)


def notice_figures(count: Callable[[], Mapping[tuple[str, State], int]]) -> Iterable[Metric]:
    """Yield how many notices each channel has sent in the last week, keeps waiting and gave up."""
    notices = GaugeMetricFamily(
        "agentguard_notices", "Notices kept, by channel: sent in the last week, waiting, dead",
        labels=("channel", "state"),
    )  # fmt: skip
    try:
        for labels, number in count().items():
            notices.add_metric(labels, number)
    except NotifyError as error:
        _LOG.warning("notices cannot be counted: %s", error.message)
        return
    yield notices
