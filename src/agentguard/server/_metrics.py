"""Figures for Prometheus. Labels are bounded: effects, stages, routes and statuses, never who or what."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from agentguard.server._people_figures import ApprovalFigures, notice_figures
from agentguard.server._sensor_figures import sensor_figures
from agentguard.server._spend_figures import spend_figures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from prometheus_client import Metric

    from agentguard.core import ApprovalEngine, Decision
    from agentguard.notify import State
    from agentguard.sensor import LinkState
    from agentguard.server._services import ServedLog
    from agentguard.spend import SpendFigures

# Seconds: deciding takes microseconds, a wait for the disk milliseconds.
_BUCKETS_S = (
    0.00001,
    0.000025,
    0.00005,
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.05,
    0.25,
    1.0,
)
_MAX_STAGES = 64


class Metrics(Collector):
    """The figures of one server, in a registry of its own.

    They are counted here, by the event loop's thread alone, and become Prometheus' at a scrape: the library's
    own counters lock, and cost a sixth of what the sidecar adds to a decision.
    """

    def __init__(
        self,
        audit: ServedLog,
        spending: Callable[[], SpendFigures] | None = None,
        sensor: Callable[[], LinkState] | None = None,
        *,
        approvals: ApprovalEngine | None = None,
        notices: Callable[[], Mapping[tuple[str, State], int]] | None = None,
    ) -> None:
        self._audit, self._spending, self._sensor = audit, spending, sensor
        self._approvals = None if approvals is None else ApprovalFigures(approvals)
        self._notices = notices
        self._decisions: Counter[tuple[str, str]] = Counter()
        self._observed: Counter[str] = Counter()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._rejected: Counter[str] = Counter()
        self._buckets = [0] * (len(_BUCKETS_S) + 1)
        self._sum_s = 0.0
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def decided(self, decision: Decision, *, observed: bool = False) -> None:
        """Count a decision; what was only observed apart, so that it looks like no request that was denied."""
        if observed:
            self._observed[decision.effect.value] += 1
            return
        key = (decision.effect.value, decision.stage)
        if key not in self._decisions and len(self._decisions) >= _MAX_STAGES:
            key = (decision.effect.value, "other")
        self._decisions[key] += 1

    def took(self, seconds: float) -> None:
        """Count the time from a request to its recorded decision."""
        self._buckets[bisect_left(_BUCKETS_S, seconds)] += 1
        self._sum_s += seconds

    def answered(self, route: str, status: int) -> None:
        """Count an answer; `route` is a path of ours or `unknown`."""
        self._requests[route, status] += 1

    def rejected(self, kind: str) -> None:
        """Count a request that was malformed or not authenticated; `kind` is an error code of ours."""
        self._rejected[kind] += 1

    def expose(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self.registry)

    def describe(self) -> Iterable[Metric]:
        """Return nothing: figures are named when they are collected."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Yield the figures as they are now."""
        decisions = CounterMetricFamily("agentguard_decisions", "Decisions made", labels=("effect", "stage"))
        for (effect, stage), count in list(self._decisions.items()):
            decisions.add_metric((effect, stage), count)
        observed = CounterMetricFamily(
            "agentguard_observed_decisions", "Decisions on what was only observed", labels=("effect",)
        )
        for effect, count in list(self._observed.items()):
            observed.add_metric((effect,), count)
        requests = CounterMetricFamily(
            "agentguard_http_requests", "HTTP requests answered", labels=("route", "status")
        )
        for (route, status), count in list(self._requests.items()):
            requests.add_metric((route, str(status)), count)
        rejected = CounterMetricFamily(
            "agentguard_rejected_requests",
            "Requests malformed, refused or not authenticated",
            labels=("kind",),
        )
        for kind, count in list(self._rejected.items()):
            rejected.add_metric((kind,), count)
        state = self._audit.state
        yield from (decisions, observed, requests, rejected, self._decide_seconds())
        yield GaugeMetricFamily("agentguard_audit_seq", "Number of the newest audit record", value=state.seq)
        yield GaugeMetricFamily(
            "agentguard_audit_signed_seq", "Newest record that a signed head covers", value=state.head_seq
        )
        yield GaugeMetricFamily(
            "agentguard_audit_healthy", "1 while the audit log takes records", value=float(state.healthy)
        )
        if self._spending is not None:
            yield from spend_figures(self._spending())
        if self._sensor is not None:
            yield from sensor_figures(self._sensor())
        if self._approvals is not None:
            yield from self._approvals.collect()
        if self._notices is not None:
            yield from notice_figures(self._notices)

    def _decide_seconds(self) -> Metric:
        bounds = [*map(str, _BUCKETS_S), "+Inf"]
        family = HistogramMetricFamily("agentguard_decide_seconds", "Time from request to recorded decision")
        family.add_metric((), list(zip(bounds, accumulate(self._buckets), strict=True)), self._sum_s)
        return family
