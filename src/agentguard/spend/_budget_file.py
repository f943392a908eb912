"""What people write in `budgets.yaml`: the shapes, not yet what they mean."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from agentguard.core import Unit
from agentguard.spend._window import Window

_Id = Annotated[str, Meta(pattern=r"^[a-z0-9]+(?:-[a-z0-9]+)*\Z", max_length=64)]
_Name = Annotated[str, Meta(min_length=1, max_length=200)]
_Number = int | float
_Usd = _Number

SCOPES = ("organisation", "project", "agent", "session", "task", "key", "model")
Scope = Literal["organisation", "project", "agent", "session", "task", "key", "model"]


class Threshold(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is done from `percent` of the limit on. `to` says by which model others are replaced, by globs."""

    percent: Annotated[int, Meta(ge=1, le=100)]
    do: Literal["notify", "downgrade", "ask"]
    to: dict[str, _Name] = {}


class BudgetEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One budget, for each value of its scope that fits `of`.

    `stop` says what becomes of an agent under `agentguard run` whose call finds no room: the call alone is denied,
    or the agent frozen or ended as well.
    """

    id: _Id
    scope: Scope
    window: Window
    unit: Unit
    limit: _Number
    of: _Name = "**"
    within: str = ""
    tz: str = "UTC"
    at: tuple[Threshold, ...] = ()
    stop: Literal["deny", "freeze", "end"] = "deny"


class OwnPrice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A price of the project's own, in dollars per million tokens; `search` and `request` in dollars each."""

    provider: _Name
    model: _Name
    input: _Usd
    output: _Usd = 0
    cache_read: _Usd | None = None
    cache_write: _Usd | None = None
    audio_input: _Usd | None = None
    audio_output: _Usd | None = None
    batch_percent: Annotated[int, Meta(ge=1, le=100)] = 100
    search: _Usd | None = None
    request: _Usd | None = None
    max_output_tokens: Annotated[int, Meta(ge=0, le=2**31)] = 0
    context_tokens: Annotated[int, Meta(ge=0, le=2**31)] = 0


class Alias(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A name that stands for a model, as that of an Azure deployment does."""

    provider: _Name
    name: _Name
    stands_for: _Name


class ToolPrice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one call of the actions that fit costs, in dollars."""

    action: _Name
    usd: _Usd


class BudgetFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    version: Literal[1]
    budgets: tuple[BudgetEntry, ...] = ()
    prices: tuple[OwnPrice, ...] = ()
    models: tuple[Alias, ...] = ()
    tools: tuple[ToolPrice, ...] = ()
