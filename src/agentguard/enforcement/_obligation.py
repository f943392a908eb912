"""What an obligation may say. Whatever is not understood here is a deny.

- `max_bytes: N`, an integer above 0: the result has at most N bytes.
- `mask_output: true`, or a list of RE2 patterns: all texts in the result are masked, or what matches in them.
- `log_level: debug | info | warning | error`: how loud the decision is logged.
- `require_reason: true`: the request says why (`context.reason`); the reason is recorded.
- `sandbox: NAME`: the action runs in the sandbox that the host program provides under that name.
- `two_person: true`: the action needs an approval, by two different people.
- `notify: true`, or a list of groups: people are told of the decision before it counts.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from agentguard.core import Decision, Effect

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from agentguard.core import Context, Obligation

MAX_PATTERNS = 64
MAX_PATTERN_LENGTH = 1024
LOG_LEVELS = ("debug", "info", "warning", "error")
_SANDBOX = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}", re.ASCII)
MAX_GROUPS = 64
MAX_NAME = 100


def obligation_problem(obligation: Obligation) -> str | None:
    """Return why this obligation cannot be carried out, or None if it can. Pure; patterns compile once."""
    check = _CHECKS.get(obligation.name)
    if check is None:
        return f"unknown obligation `{obligation.name}`; known are {', '.join(sorted(_CHECKS))}"
    problem = check(obligation.value)
    return f"obligation `{obligation.name}` {problem}" if problem else None


def unmet_obligation(obligation: Obligation, context: Context) -> str | None:
    """Return what a request lacks that the obligation wants of it, or None."""
    if obligation.name == "require_reason" and not context.reason.strip():
        return "the request must say why it is made: a rule wants a `reason` in its context"
    return None


def sandboxes_of(decision: Decision) -> tuple[str, ...]:
    """Return the names of the sandboxes that the action must run in, the outermost first."""
    return tuple(dict.fromkeys(each.value for each in decision.obligations if each.name == "sandbox"))


def require_known(decision: Decision, context: Context, *, sandboxes: Collection[str] = ()) -> Decision:
    """Return the decision, or a deny in its place when it asks for an obligation that cannot be kept here.

    `context` is that of the request, `sandboxes` what the enforcement point can run an action in.
    """
    if decision.effect is Effect.DENY or not decision.obligations:
        return decision
    for obligation in decision.obligations:
        problem = obligation_problem(obligation) or unmet_obligation(obligation, context)
        if problem is None and obligation.name == "sandbox" and obligation.value not in sandboxes:
            problem = f"the enforcement point has no sandbox `{obligation.value}`"
        if problem is not None:
            # Without the ticket: what is refused here must not be done elsewhere.
            return replace(decision, effect=Effect.DENY, reason=problem, stage="enforcement", ticket="")
    return decision


def _max_bytes_problem(value: Any) -> str | None:
    # `True` is an int to Python and no number to anybody else.
    return None if type(value) is int and value > 0 else "takes a whole number above 0"


def _mask_problem(value: Any) -> str | None:
    if value is True:
        return None
    if type(value) not in (list, tuple) or not value or len(value) > MAX_PATTERNS:
        return f"takes `true`, or 1 to {MAX_PATTERNS} patterns"
    for pattern in value:
        if type(pattern) is not str or not pattern or len(pattern) > MAX_PATTERN_LENGTH:
            return f"has a pattern that is no text of 1 to {MAX_PATTERN_LENGTH} characters"
        problem = _pattern_problem(pattern)
        if problem:
            return problem
    return None


def _log_level_problem(value: Any) -> str | None:
    return None if type(value) is str and value in LOG_LEVELS else f"takes one of {', '.join(LOG_LEVELS)}"


def _require_reason_problem(value: Any) -> str | None:
    return None if value is True else "takes `true`"


def _sandbox_problem(value: Any) -> str | None:
    is_name = type(value) is str and _SANDBOX.fullmatch(value) is not None
    return None if is_name else "takes the name of a sandbox: up to 64 of a-z, 0-9, `_`, `.` and `-`"


def _two_person_problem(value: Any) -> str | None:
    return None if value is True else "takes `true`"


def _notify_problem(value: Any) -> str | None:
    if value is True:
        return None
    is_list = type(value) in (list, tuple) and 0 < len(value) <= MAX_GROUPS
    is_names = is_list and all(type(each) is str and 0 < len(each) <= MAX_NAME for each in value)
    return None if is_names else f"takes `true`, or 1 to {MAX_GROUPS} names of groups"


_CHECKS: dict[str, Callable[[Any], str | None]] = {
    "max_bytes": _max_bytes_problem,
    "mask_output": _mask_problem,
    "log_level": _log_level_problem,
    "require_reason": _require_reason_problem,
    "sandbox": _sandbox_problem,
    "two_person": _two_person_problem,
    "notify": _notify_problem,
}
KNOWN_OBLIGATIONS = frozenset(_CHECKS)


@lru_cache(maxsize=1024)
def _pattern_problem(pattern: str) -> str | None:
    import re2

    try:
        compiled = compile_pattern(pattern)
    except (re2.error, UnicodeEncodeError):
        return f"has the pattern {pattern!a}, which is not RE2"
    if compiled.search("") is not None:
        return f"has the pattern {pattern!a}, which matches the empty text"
    return None


@lru_cache(maxsize=1024)
def compile_pattern(pattern: str) -> Any:
    """Return the compiled RE2 pattern. Raises what re2 raises when it is none."""
    import re2

    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options)
