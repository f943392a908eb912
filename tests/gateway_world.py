"""A gateway on a real socket, between the providers' own SDKs and a provider on loopback."""

from __future__ import annotations

import contextlib
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import sidecar
from agentguard.backends import MemoryLedger
from agentguard.config import GatewaySettings, UpstreamSettings
from agentguard.core import Spender, SpendFilter
from agentguard.gateway import Gateway, agent_variables, load_upstreams
from llm_upstream import KEY, Upstream
from scripted_decider import ScriptedDecider
from spending import desk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import anthropic
    import openai
    from openai.lib.azure import AzureOpenAI

    from agentguard.core import AttemptState, SpendEntry

T = TypeVar("T")

TOKEN = sidecar.AGENT


@dataclass
class GatewayWorld:
    """Everything around one gateway. `settings` change its own; `upstream_settings` those of each upstream."""

    folder: Path
    upstreams: Sequence[Upstream]
    scripted: Any = field(default_factory=ScriptedDecider)
    budgets: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    upstream_settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    blocking: bool = False
    hold_s: float = 0.0

    def __post_init__(self) -> None:
        self.ledger = MemoryLedger()
        self._clients: list[Any] = []
        self.keeper = desk(self.folder, self.budgets, ledger=self.ledger).keeper
        self.served = self.gateway()
        self.world = sidecar.World(gateway=self.served)

    def gateway(self) -> Gateway:
        named = {name: self._upstream(name) for name in self.upstream_settings}
        if not named:
            named = {kind: self._upstream(kind) for kind in ("openai", "azure", "anthropic")}
        settings = GatewaySettings(upstreams=named, **self.settings)
        return Gateway(
            settings,
            load_upstreams(settings, self.folder, {"PROVIDER_KEY": KEY}),
            decider=self.scripted,
            verify_token=sidecar.verify_token,
            budgets=self.keeper,
            spender=lambda agent, **more: Spender(project="p", agent=agent, **more),
            blocking=self.blocking,
            hold_s=self.hold_s,
        )

    def _upstream(self, name: str) -> UpstreamSettings:
        given = dict(self.upstream_settings.get(name, {}))
        port = self.upstreams[given.pop("at", 0)].port
        kind = given.setdefault("kind", name)
        path = "/v1" if kind == "openai" else ""
        # The two that speak OpenAI's API share no model, so that each call has one way.
        given.setdefault("models", ("*-mini",) if kind == "azure" else ("**",))
        given.setdefault("base_url", f"http://127.0.0.1:{port}{path}")
        return UpstreamSettings(key="env:PROVIDER_KEY", local=True, **given)

    @property
    def decider(self) -> Any:
        """The decider, once all that was answered is booked and recorded: that comes after the answer."""
        self.settle()
        return self.scripted

    def settle(self) -> None:
        """Wait until no call is under way; a stream that the test itself holds open is not waited for."""
        server = self.world.server
        deadline = time.monotonic() + 0.5
        while server is not None and time.monotonic() < deadline:
            if not server.server_state.tasks and self.served.is_idle:
                break
            time.sleep(0.001)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.world.port}"

    def openai(self, **more: Any) -> openai.OpenAI:
        """Return a client of the gateway, made as `agentguard run` has an agent make it."""
        from openai import OpenAI

        values = agent_variables(self.url, TOKEN)
        given: dict[str, Any] = {
            "base_url": values["OPENAI_BASE_URL"],
            "api_key": values["OPENAI_API_KEY"],
            "max_retries": 0,
        }
        return self._kept(OpenAI(**(given | more)))

    def azure(self) -> AzureOpenAI:
        from openai.lib.azure import AzureOpenAI

        values = agent_variables(self.url, TOKEN)
        client = AzureOpenAI(
            azure_endpoint=values["AZURE_OPENAI_ENDPOINT"],
            api_key=values["AZURE_OPENAI_API_KEY"],
            api_version="2026-01-01",
            max_retries=0,
        )
        return self._kept(client)

    def anthropic(self, **more: Any) -> anthropic.Anthropic:
        from anthropic import Anthropic

        values = agent_variables(self.url, TOKEN)
        given: dict[str, Any] = {
            "base_url": values["ANTHROPIC_BASE_URL"],
            "api_key": values["ANTHROPIC_API_KEY"],
            "max_retries": 0,
        }
        return self._kept(Anthropic(**(given | more)))

    def _kept(self, client: T) -> T:
        self._clients.append(client)
        return client

    def close(self) -> None:
        """Close the clients: an error that a test keeps would keep their sockets open."""
        for each in self._clients:
            each.close()

    def entries(self) -> list[SpendEntry]:
        """Return the attempts in the ledger, oldest first."""
        self.settle()
        return self.ledger.entries(SpendFilter())

    def states(self) -> list[AttemptState]:
        return [entry.state for entry in self.entries()]

    def ask(self, path: str, body: object, *, method: str = "POST", **headers: str) -> sidecar.Reply:
        own = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.world.ask(method, path, body, TOKEN, {"content-type": "application/json", **own})


@contextmanager
def running(folder: Path, *upstreams: Upstream, **given: Any) -> Iterator[GatewayWorld]:
    """Run a gateway in front of upstreams that are running already."""
    world = GatewayWorld(folder, upstreams, **given)
    with sidecar.running(world.world), contextlib.closing(world):
        yield world
