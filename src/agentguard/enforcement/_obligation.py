"""What an obligation may say. Whatever is not understood here is a deny.

- `max_bytes: N`, an integer above 0: the result has at most N bytes.
- `mask_output: true`, or a list of RE2 patterns: all texts in the result are masked, or what matches in them.
- `log_level: debug | info | warning | error`: how loud the decision is logged.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from agentguard.core import Decision, Effect

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentguard.core import Obligation

MAX_PATTERNS = 64
MAX_PATTERN_LENGTH = 1024
LOG_LEVELS = ("debug", "info", "warning", "error")


def obligation_problem(obligation: Obligation) -> str | None:
    """Return why this obligation cannot be carried out, or None if it can. Pure; patterns compile once."""
    check = _CHECKS.get(obligation.name)
    if check is None:
        return f"unknown obligation `{obligation.name}`; known are {', '.join(sorted(_CHECKS))}"
    problem = check(obligation.value)
    return f"obligation `{obligation.name}` {problem}" if problem else None


def require_known(decision: Decision) -> Decision:
    """Return the decision, or a deny in its place when it asks for an obligation that nobody here can keep."""
    for obligation in decision.obligations:
        problem = obligation_problem(obligation)
        if problem and decision.effect is not Effect.DENY:
            return replace(decision, effect=Effect.DENY, reason=problem, stage="enforcement")
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


_CHECKS: dict[str, Callable[[Any], str | None]] = {
    "max_bytes": _max_bytes_problem,
    "mask_output": _mask_problem,
    "log_level": _log_level_problem,
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
