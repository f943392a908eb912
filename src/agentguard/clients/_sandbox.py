"""Sandboxes: what the host program can run an action in, by the names that rules call them.

Python confines nothing by itself, so none is built in: a sandbox is a function of the host's that takes the decision
and a call, makes the call where it is confined (another process, a container, a restricted thread) and returns what
it returned. For an async function it is an async function, and awaits the call.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from agentguard.core import RequestError
from agentguard.enforcement import sandboxes_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentguard.core import Decision

Sandbox = Callable[["Decision", Callable[[], Any]], Any]


def confined(
    decision: Decision, call: Callable[[], Any], sandboxes: Mapping[str, Sandbox], *, is_async: bool
) -> Callable[[], Any]:
    """Return `call` within every sandbox that the decision asks for, the first one outermost.

    Raises:
        RequestError: one of them is not there, or is async where the function is not, or the other way round: the
            call would begin inside and happen outside.
    """
    for name in reversed(sandboxes_of(decision)):
        sandbox = sandboxes.get(name)
        if sandbox is None:
            raise RequestError(f"the enforcement point has no sandbox `{name}`")
        if inspect.iscoroutinefunction(sandbox) is not is_async:
            kind = "an async" if is_async else "no async"
            raise RequestError(f"the sandbox `{name}` cannot run a function that is {kind} one")
        call = functools.partial(sandbox, decision, call)
    return call
