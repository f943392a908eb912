"""Actions: what can be done at all. What no action declares cannot be asked for."""

from __future__ import annotations

import enum
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core.label import Label
from agentguard.core.resource import Risk, Sensitivity

if TYPE_CHECKING:
    from collections.abc import Mapping


class Sink(enum.Enum):
    """Where the arguments of an action end up."""

    INTERNAL = "internal"
    EXTERNAL = "external"


class Flow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an action does to information: the label of its result, and where its arguments go.

    `clearance` is the highest confidentiality that the sink may receive.
    """

    source: Label | None = None
    sink: Sink | None = None
    clearance: Sensitivity | None = None


class Access(enum.Enum):
    """Whether an action only looks or may change something."""

    READ = "read"
    WRITE = "write"


class Role(enum.Enum):
    """What an argument is to its action.

    A target says to whom or to what it is done; a payload is what is said, stored or moved there; a control
    says how (a limit, an order, a flag) and can point the action at nothing else.
    """

    TARGET = "target"
    PAYLOAD = "payload"
    CONTROL = "control"


# What an argument's `kind` may say, beyond its role.
ARGUMENT_KINDS: Mapping[str, str] = {
    "recipient": "whom it reaches: a mail address, phone number, person, group or channel",
    "account": "an account that money or rights belong to: a number, an IBAN, a card, a wallet",
    "url": "where on the network it goes, as a URL",
    "host": "where on the network it goes, as a host name or an address",
    "path": "a file or a folder",
    "id": "the key of a thing in some system",
    "name": "the name of a thing that is acted on or made",
    "command": "what is run: a command line, a query, a program, an expression",
    "amount": "a quantity that matters: money, shares, stock",
    "date": "a date or a time that the action fixes",
    "secret": "a password, a key, a code",
    "text": "words for people to read",
}


class Argument(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The role of one argument, and its kind: one of `ARGUMENT_KINDS`, or empty where none fits."""

    role: Role
    kind: str = ""


class Action(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, dict=True):
    """A declared action.

    `params` is a JSON Schema (draft 2020-12) of type object; a property with `secret: true` never reaches
    the log in clear. `prechecks` and `required_privileges` are data, shown with the Decision: nothing runs
    them here. `read_only_form` and `compensating_action` are references (`name@version`).

    `arguments` says what is what among the parameters, by JSON pointer (RFC 6901), in which the step `*`
    stands for each item of a list and each value of a map (`/to`, `/items/*/sku`). An entry holds for all that
    is below it, except where a longer pointer says otherwise. Nothing is known of an argument that no pointer
    covers, nor of `access` where it is None.
    """

    name: str
    version: int
    description: str
    risk: Risk
    params: dict[str, Any] = {}
    resource_types: tuple[str, ...] = ()
    prechecks: tuple[str, ...] = ()
    required_privileges: tuple[str, ...] = ()
    reversible: bool = False
    compensating_action: str | None = None
    read_only_form: str | None = None
    flow: Flow | None = None
    tags: tuple[str, ...] = ()
    access: Access | None = None
    arguments: dict[str, Argument] = {}

    @cached_property
    def reference(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"
