"""Figures for Prometheus. Labels are bounded: effects, stages, routes and statuses, never who or what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric

    from agentguard.core import Decision
    from agentguard.server._services import ServedLog

# Seconds: deciding takes microseconds, a wait for the disk milliseconds.
_BUCKETS = (0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0)
_MAX_STAGES = 32


class Metrics:
    """The counters of one server, in a registry of its own."""

    def __init__(self, audit: ServedLog) -> None:
        self.registry = CollectorRegistry()
        self._decisions = Counter(
            "agentguard_decisions", "Decisions made", ["effect", "stage"], registry=self.registry
        )
        self.decide_seconds = Histogram(
            "agentguard_decide_seconds",
            "Time from request to recorded decision",
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._requests = Counter(
            "agentguard_http_requests", "HTTP requests answered", ["route", "status"], registry=self.registry
        )
        self._rejected = Counter(
            "agentguard_rejected_requests",
            "Requests that were malformed or not authenticated",
            ["kind"],
            registry=self.registry,
        )
        self.registry.register(_LogCollector(audit))
        self._decision_children: dict[tuple[str, str], Counter] = {}
        self._request_children: dict[tuple[str, int], Counter] = {}

    def decided(self, decision: Decision) -> None:
        """Count a decision."""
        key = (decision.effect.value, decision.stage)
        child = self._decision_children.get(key)
        if child is None:
            stage = decision.stage if len(self._decision_children) < _MAX_STAGES else "other"
            child = self._decision_children[key] = self._decisions.labels(decision.effect.value, stage)
        child.inc()

    def answered(self, route: str, status: int) -> None:
        """Count an answer; `route` is a path of ours or `unknown`."""
        child = self._request_children.get((route, status))
        if child is None:
            child = self._request_children[route, status] = self._requests.labels(route, str(status))
        child.inc()

    def rejected(self, kind: str) -> None:
        """Count a request that was malformed or not authenticated; `kind` is an error code of ours."""
        self._rejected.labels(kind).inc()

    def expose(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self.registry)


class _LogCollector(Collector):
    def __init__(self, audit: ServedLog) -> None:
        self._audit = audit

    def collect(self) -> Iterable[Metric]:
        state = self._audit.state()
        yield GaugeMetricFamily("agentguard_audit_seq", "Number of the newest audit record", value=state.seq)
        yield GaugeMetricFamily(
            "agentguard_audit_healthy", "1 while the audit log takes records", value=float(state.healthy)
        )
