"""The description of `/v1/kernel-policy`. Its shapes stand in `kernel`, which an installation may lack."""

from __future__ import annotations

from typing import Any

from agentguard.server._openapi_shapes import errors_of, object_of, post_of

_ORDER = {
    "principal": "deploy-agent",
    "mode": "enforce",
    "wanted": {
        "profile": {
            "name": "offline",
            "about": "no network",
            "run": ["/usr"],
            "read": ["/etc"],
            "write": ["/dev/null"],
        },
        "home": "/srv",
        "path_variable": "/usr/bin",
        "workspace": "/srv/shop",
    },
    "place": {"boot": "4f1c2d3e-4f5a-6b7c-8d9e-0f1a2b3c4d5e", "mounts": 4026531841, "uid": 1000},
}
_ISSUED = {
    "signed": {
        "policy": {
            "version": 7,
            "policy_version": "sha256:9f2c",
            "principal": "deploy-agent",
            "mode": "enforce",
            "paths": [{"path": "/usr", "access": ["read", "execute"], "effect": "allow", "rule": "profile.offline"}],
            "networks": [],
            "domains": [],
            "sockets": [],
        },
        "key_id": "kPrK...",
        "signature": "tGQ3...",
    },
    "notes": [],
}  # fmt: skip


KERNEL_POLICY_SHAPES: dict[str, Any] = {
    "PolicyOrder": object_of(
        {
            "principal": {"type": "string"},
            "mode": {"enum": ["enforce", "freeze", "kill", "observe", "warn"]},
            "wanted": {"type": "object"},
            "place": {"type": "object"},
            "networks": {"type": "array", "items": {"type": "object"}, "default": []},
        }
    )
    | {"required": ["principal", "mode", "wanted", "place"]},
    "IssuedPolicy": object_of(
        {"signed": {"type": "object"}, "notes": {"type": "array", "items": {"type": "string"}}}
    ),
}


def kernel_policy_paths() -> dict[str, Any]:
    """Return the path with which a launcher has a kernel policy signed."""
    path = post_of("Have the kernel policy of a run signed", "PolicyOrder", _ORDER, "IssuedPolicy", _ISSUED)
    path["post"]["description"] = "For launchers: the token has `act_as`."
    answers = path["post"]["responses"]
    answers["200"]["description"] = "Signed"
    answers |= errors_of("409", "503")
    answers["409"]["description"] = "The run is on another machine, in another container or another user's"
    answers["503"]["description"] = "The state folder, the keys or the log do not work"
    return {"/v1/kernel-policy": path}
