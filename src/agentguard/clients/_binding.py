"""Turns a call's arguments into an action's parameters by the function's signature, and decided ones back."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentguard.core import ConfigError, RequestError, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_Kind = inspect.Parameter
# The parameter of a function that is given the execution ticket.
TICKET = "ticket"


@dataclass(frozen=True, slots=True)
class Call:
    """What a function is called with."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Binding:
    """The parameters of one function, and `fixed` ones that belong to the action and not to the function.

    A first parameter called `self` or `cls` is the host's and goes through untouched. A parameter whose
    default is None and that is None counts as absent: it is not among the action's parameters. With `takes_ticket` the
    parameter `ticket` is none of the action's either: it is for the guard to give.

    Raises:
        ConfigError: the function has `*args`, whose items have no names, or shares a name with `fixed`, or takes no
            `ticket`.
    """

    def __init__(
        self, function: Callable[..., Any], *, fixed: Mapping[str, Any], takes_ticket: bool = False
    ) -> None:
        try:
            whole = inspect.signature(function)
        except (TypeError, ValueError):
            raise ConfigError("only a function with a signature can be guarded") from None
        self._all = list(whole.parameters.values())
        self._ticket = _ticket_parameter(whole) if takes_ticket else None
        parameters = [each for each in self._all if each is not self._ticket]
        # What a caller may give: not the ticket.
        self.signature = whole.replace(parameters=parameters)
        self._host = _host_parameter(parameters)
        self._named = [
            each for each in parameters if each.kind is not _Kind.VAR_KEYWORD and each is not self._host
        ]
        self._rest = next((each for each in parameters if each.kind is _Kind.VAR_KEYWORD), None)
        if any(each.kind is _Kind.VAR_POSITIONAL for each in parameters):
            raise ConfigError(
                "a function with `*args` cannot be guarded: their items have no names",
                hint="name the parameters, or take a list",
            )
        try:
            self._fixed = snapshot(dict(fixed))
        except RequestError as error:
            raise ConfigError(error.message) from None
        self.names = frozenset(each.name for each in self._named) | frozenset(self._fixed)
        shared = sorted({each.name for each in self._named} & set(self._fixed))
        if shared:
            raise ConfigError(f"`{shared[0]}` is fixed and also a parameter of the function")

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Return the host's object, if the function takes one, and a deep copy of the action's parameters.

        Raises:
            TypeError: the arguments do not fit the signature, as Python itself says.
            RequestError: a value is not JSON, or two arguments have one name.
        """
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        params = dict(self._fixed)
        for each in self._named:
            value = bound.arguments[each.name]
            if value is not None or each.default is not None:
                params[each.name] = value
        rest = bound.arguments[self._rest.name] if self._rest is not None else {}
        if not self.names.isdisjoint(rest):
            raise RequestError("two arguments have the same name", code="params_invalid")
        host = bound.arguments[self._host.name] if self._host is not None else None
        return host, snapshot(params | rest)

    def call_with(self, host: Any, params: Mapping[str, Any], ticket: str = "") -> Call:
        """Return what to call the function with, so that it gets `params`, all of them and nothing else.

        Where it takes a ticket it gets `ticket` besides.

        Raises:
            RequestError: it cannot be given exactly these.
        """
        params = snapshot(dict(params))
        for name, value in self._fixed.items():
            if name not in params or params.pop(name) != value:
                raise RequestError(f"the decision changes `{name}`, which the function does not take")
        args: list[Any] = [] if self._host is None else [host]
        kwargs: dict[str, Any] = {}
        for each in self._all:
            if each is self._ticket:
                value = ticket
            elif each is self._host or each is self._rest:
                continue
            elif each.name not in params and each.default is not None:
                # Its default is a value that nobody has decided on.
                raise RequestError(f"the decision leaves out `{each.name}`, which the function needs")
            else:
                value = params.pop(each.name, None)
            if each.kind is _Kind.KEYWORD_ONLY:
                kwargs[each.name] = value
            else:
                args.append(value)
        if params and self._rest is None:
            raise RequestError(f"the decision adds `{next(iter(params))}`, which the function does not take")
        return Call(tuple(args), kwargs | params)


def _ticket_parameter(signature: inspect.Signature) -> inspect.Parameter:
    found = signature.parameters.get(TICKET)
    if found is None or found.kind not in (_Kind.POSITIONAL_OR_KEYWORD, _Kind.KEYWORD_ONLY):
        raise ConfigError(
            "the function has no parameter `ticket`, and nobody else could use its ticket",
            hint='add `ticket: str = ""`, and hand it to the executor',
        )
    return found


def _host_parameter(parameters: list[inspect.Parameter]) -> inspect.Parameter | None:
    first = parameters[0] if parameters else None
    is_positional = first is not None and first.kind in (_Kind.POSITIONAL_ONLY, _Kind.POSITIONAL_OR_KEYWORD)
    return first if first is not None and is_positional and first.name in ("self", "cls") else None
