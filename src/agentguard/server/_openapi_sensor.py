"""What `/v1/sensor` answers, as an example for its description."""

from __future__ import annotations

from typing import Any

SENSOR_EXAMPLE: dict[str, Any] = {
    "connected": True,
    "problem": "",
    "sensor": "8e47738fc7216114",
    "age_s": 1.1,
    "connections": 1,
    "reports": 25,
    "decisions": {"allow": 20, "transform": 0, "require_approval": 1, "deny": 2},
    "agents": [
        {
            "principal": "support-bot",
            "session": "2768500be6af7cca",
            "cgroup": "/agents.slice/support-bot.service",
            "since": "2026-01-31T12:00:00Z",
            "labels": {},
            "dropped": 0,
        }
    ],
    "health": {
        "type": "Health",
        "version": "0.1.0",
        "uptime_s": 3600.0,
        "tier": "observe",
        "checks": [{"name": "files", "ok": True, "detail": "a file is opened for writing", "needed": True}],
        "missing": {},
        "runs": 0,
        "records": 9700,
        "repeated": 2800,
        "dropped": {"vital": 0, "file": 0, "io": 0},
        "errors": 0,
        "backlog": 0,
        "latency_mean_ms": 4.1,
        "latency_max_ms": 21.8,
        "agents": 1,
        "sidecar": True,
        "buffer": {
            "id": "f4c084b7f609ad83",
            "used_bytes": 11_937,
            "max_bytes": 268_435_456,
            "waiting": 0,
            "accepted": 25,
            "dropped": {"vital": 0, "ordinary": 0},
        },
        "pods": "",
    },
}
