"""The sections `egress` and `sensor`: what the kernel layer needs to be told."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

_Text = Annotated[str, Meta(min_length=1, max_length=1024)]


class EgressSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an agent that `agentguard run --enforce` holds reaches the names that are allowed."""

    resolvers: Annotated[
        tuple[_Text, ...],
        Meta(description="resolvers that are asked, as 9.9.9.9 or [2620:fe::fe]:53; by default the system's"),
    ] = ()
    private: Annotated[
        tuple[_Text, ...],
        Meta(description="private prefixes to which an allowed name may lead all the same, as 10.1.0.0/16"),
    ] = ()


class WatchSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """By what the cgroups of one principal are known; any of them will do."""

    labels: Annotated[
        tuple[_Text, ...],
        Meta(description="labels of cgroups (the attribute `security.agentguard.agent`), as globs"),
    ] = ()
    units: Annotated[
        tuple[_Text, ...],
        Meta(description="systemd slices, services and scopes, or names of other cgroups, as globs"),
    ] = ()
    pods: Annotated[
        tuple[
            Annotated[
                str, Meta(pattern=r"^[a-z0-9*-]+/[^=,\s]+=[^=,\s]*(,[^=,\s]+=[^=,\s]*)*\Z", max_length=1024)
            ],
            ...,
        ],
        Meta(description="pods by namespace and labels: `agents/app=support,tier=web`"),
    ] = ()


class SensorSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The sensor, and which agents it watches that `agentguard run` did not launch."""

    socket: Annotated[_Text, Meta(description="its Unix socket")] = "/run/agentguard/sensor.sock"
    watch: Annotated[
        dict[str, WatchSettings],
        Meta(description="agents by principal, each with `labels`, `units` or `pods` by which it is known"),
    ] = {}
    user: Annotated[
        str, Meta(max_length=64, description="whose sidecar is told; left out, the owner of this file's")
    ] = ""
    buffer_folder: Annotated[
        _Text, Meta(description="folder of what was seen and no sidecar has taken yet")
    ] = "/var/lib/agentguard/sensor"
    buffer_bytes: Annotated[
        int, Meta(ge=1_048_576, le=1024**4, description="how large that may become, in bytes")
    ] = 268_435_456
    pods: Annotated[
        str,
        Meta(
            pattern=r"^((https?://|file:/)[^\s]+)?\Z",
            max_length=1024,
            description="where labels of pods come from: `https://NODE:10250/pods`, or `file:PATH` of a PodList",
        ),
    ] = ""
    pods_token: Annotated[_Text, Meta(description="file of the token for the kubelet")] = (
        "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105 - a path
    )
    pods_ca: Annotated[
        str,
        Meta(max_length=1024, description="file of the authority that signed the kubelet's certificate"),
    ] = ""
