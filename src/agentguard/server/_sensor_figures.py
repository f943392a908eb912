"""Figures of the sensor for Prometheus: it serves no HTTP itself, so the sidecar says them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric

    from agentguard.sensor import Health, LinkState

_MS = 1000.0


def sensor_figures(state: LinkState) -> Iterable[Metric]:
    """Yield the figures of the link to the sensor, and the last ones that the sensor told, with their age."""
    yield GaugeMetricFamily(
        "agentguard_sensor_connected", "1 while the sidecar follows the sensor", value=float(state.connected)
    )
    yield CounterMetricFamily(
        "agentguard_sensor_connections", "Times that the sidecar has met the sensor", value=state.connections
    )
    yield CounterMetricFamily(
        "agentguard_sensor_reports", "Reports that the sidecar took from the sensor", value=state.reports
    )
    decisions = CounterMetricFamily(
        "agentguard_sensor_decisions", "Observed actions by what the policy says of them", labels=("effect",)
    )
    for effect, count in state.decisions.items():
        decisions.add_metric((effect,), count)
    yield decisions
    if state.health is not None:
        yield GaugeMetricFamily(
            "agentguard_sensor_age_seconds", "How old the following figures are", value=state.age_s
        )
        yield from _health(state.health)


def _health(health: Health) -> Iterable[Metric]:
    yield GaugeMetricFamily("agentguard_sensor_up_seconds", "How long the sensor runs", value=health.uptime_s)
    yield GaugeMetricFamily("agentguard_sensor_runs", "Launched runs that it watches", value=health.runs)
    yield GaugeMetricFamily("agentguard_sensor_agents", "Other agents that it watches", value=health.agents)
    yield CounterMetricFamily("agentguard_sensor_records", "Kernel records read", value=health.records)
    yield CounterMetricFamily(
        "agentguard_sensor_repeated_records", "Records that said nothing new", value=health.repeated
    )
    dropped = CounterMetricFamily(
        "agentguard_sensor_dropped_records", "Records for which there was no room", labels=("kind",)
    )
    for kind, count in health.dropped.items():
        dropped.add_metric((kind,), count)
    yield dropped
    yield CounterMetricFamily(
        "agentguard_sensor_errors", "Things that the sensor failed at", value=health.errors
    )
    yield GaugeMetricFamily(
        "agentguard_sensor_backlog", "Records read and not sorted yet", value=health.backlog
    )
    latency = GaugeMetricFamily(
        "agentguard_sensor_latency_seconds",
        "From the kernel's record to Python, since the start",
        labels=("of",),
    )
    latency.add_metric(("mean",), health.latency_mean_ms / _MS)
    latency.add_metric(("most",), health.latency_max_ms / _MS)
    yield latency
    if health.buffer is not None:
        yield GaugeMetricFamily(
            "agentguard_sensor_buffer_bytes", "Room that its buffer takes", value=health.buffer.used_bytes
        )
        yield GaugeMetricFamily(
            "agentguard_sensor_buffer_max_bytes",
            "Room that its buffer may take",
            value=health.buffer.max_bytes,
        )
        yield GaugeMetricFamily(
            "agentguard_sensor_buffer_waiting",
            "Reports that no sidecar has taken",
            value=health.buffer.waiting,
        )
