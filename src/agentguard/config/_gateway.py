"""The section `gateway`: the providers of models, and how their models are called."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

_Text = Annotated[str, Meta(min_length=1, max_length=1024)]

_Seconds = Annotated[float, Meta(gt=0, le=3600)]


class UpstreamSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model provider that the gateway may call."""

    kind: Annotated[Literal["openai", "azure", "anthropic"], Meta(description="which API it speaks")]
    base_url: Annotated[
        _Text,
        Meta(description="where its API begins, as `https://api.openai.com/v1`; for `azure` the endpoint"),
    ]
    key: Annotated[
        str,
        Meta(
            pattern=r"^(env|file):[^\s].*\Z",
            max_length=1024,
            description="where its key is: `env:NAME`, or `file:PATH` of a file that its owner alone may read",
        ),
    ]
    models: Annotated[
        tuple[_Text, ...], Meta(min_length=1, description="models that it serves, as globs: `gpt-*`")
    ]
    provider: Annotated[
        str, Meta(max_length=100, description="whose prices count; left out, what `kind` says")
    ] = ""
    order: Annotated[
        int,
        Meta(
            ge=1, le=100, description="upstreams with a lower number are asked first, others when they fail"
        ),
    ] = 1
    weight: Annotated[
        int, Meta(ge=1, le=1000, description="share of the calls, among upstreams with the same `order`")
    ] = 1
    local: Annotated[
        bool, Meta(description="it is on this machine or network: private addresses and plain http are fine")
    ] = False
    connect_timeout_s: Annotated[_Seconds, Meta(description="seconds to connect to it")] = 5.0
    idle_timeout_s: Annotated[_Seconds, Meta(description="seconds that it may stay silent")] = 120.0


class ToolSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which action a tool is that models propose."""

    action: Annotated[_Text, Meta(description="action that a call of it is decided as")]
    resource: Annotated[
        str, Meta(max_length=1024, description="what it is done to; left out, `tool/<name>`")
    ] = ""
    is_guarded: Annotated[
        bool, Meta(description="the function is guarded itself, so a proposed call uses nothing up")
    ] = False


class GatewaySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The LLM gateway: agents call models through the sidecar, with their tokens in place of the keys."""

    upstreams: Annotated[
        dict[str, UpstreamSettings],
        Meta(description="model providers by name; without any there is no gateway"),
    ] = {}
    max_body_bytes: Annotated[
        int, Meta(ge=1024, le=256 * 1024**2, description="largest request to a model, in bytes")
    ] = 33_554_432
    max_answer_bytes: Annotated[
        int, Meta(ge=1024, le=1024**3, description="largest answer of a model, a stream included, in bytes")
    ] = 67_108_864
    max_answer_s: Annotated[
        float, Meta(gt=0, le=86_400, description="longest that an answer may take, in seconds")
    ] = 1800.0
    tools: Annotated[
        dict[str, ToolSettings],
        Meta(description="actions of tools, by name; others are the action of their name"),
    ] = {}
    max_retries: Annotated[
        int,
        Meta(
            ge=0, le=10, description="how often a call is sent again after a failure that is safe to repeat"
        ),
    ] = 2
