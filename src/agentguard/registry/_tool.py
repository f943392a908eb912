"""A tool as some agent framework declares it, and the action that it becomes."""

from __future__ import annotations

from typing import Any

import msgspec

from agentguard.core import Action


class Tool(msgspec.Struct, frozen=True):
    """One tool, whatever format it came in.

    `schema` is the JSON Schema of its parameters, as it was written, and `root` the document that references in
    it lead into, if that is not the schema.

    `method` is the HTTP method where there is one. `destructive`, `open_world` and `changes` are hints of
    whoever wrote the tool: they can only make the action stricter. `vouched` says whether its descriptions
    come from the user's own program, and not from a server that anyone may run.
    """

    name: str
    description: str
    schema: Any = None
    root: Any = None
    method: str = ""
    where: str = ""
    destructive: bool = False
    open_world: bool = False
    changes: bool = False
    vouched: bool = True
    notes: tuple[str, ...] = ()


class ImportedAction(msgspec.Struct, frozen=True):
    """An action that was inferred from a tool, and why.

    `tool` is the name that the tool has at its source. `because` says by field (`name`, `access`, `risk`,
    `flow`) and by pointer (`/to`) what the inference rests on. `unsure` lists those of them that rest on no word
    and no feature of the schema, where the strict reading was taken: look at these first. `notes` say what of
    the parameters' schema could not be kept.
    """

    action: Action
    tool: str
    because: dict[str, str]
    unsure: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
