"""Renders the pages: Jinja with autoescape, and an error for anything that a template misses."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from agentguard.console._event_rows import SEEN
from agentguard.console._policies import policy_groups
from agentguard.console._rows import EFFECTS, Chain, Row
from agentguard.console._text import visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentguard.console._approvals import ApprovalView
    from agentguard.policy import PolicyDescription

_MAX_PROBLEM = 600
_NOTHING_GIVEN: Mapping[str, str] = {"note": "", "patch": "", "minutes": "", "to": ""}


def render_login(*, code: str = "", problem: str = "", then: str = "/", has_people: bool = False) -> str:
    """Return the page that asks for name and password or the admin token, or, with `code`, for a click that redeems it.

    `then` is the path that a login leads to; without `has_people` there is nobody to log in by name.
    """
    return _render("page/login.html", code=code, problem=problem, then=then, has_people=has_people)


def render_live(
    *,
    rows: Sequence[Row],
    chain: Chain,
    after: str,
    csrf: str,
    version: str,
    person: str = "",
    effects: Sequence[str] = (),
    text: str = "",
) -> str:
    """Return the page of decisions and events, newest first; `after` is where its event stream goes on.

    `effects` and `text` are the filter in force; no effects means all. Rows are filtered here.
    """
    shown = [row for row in rows if (not effects or row.effect in effects) and _contains(row, text)]
    return _render(
        "page/live.html",
        rows=shown,
        total=len(rows),
        blank=Row(0, "", "", "allow", "", "", "", "", "", "", "", "", (), ""),
        chain=chain,
        after=after,
        csrf=csrf,
        person=person,
        version=version,
        effects=EFFECTS | SEEN,
        chosen=effects or (*EFFECTS, *SEEN),
        text=text,
    )


def render_policies(
    description: PolicyDescription, *, csrf: str, version: str, person: str = "", text: str = ""
) -> str:
    """Return the page of the policy set in force; only rules in which all words of `text` stand."""
    return _render(
        "page/policies.html",
        groups=policy_groups(description, text),
        policy_version=description.version,
        problem=visible(description.problem or "", _MAX_PROBLEM),
        csrf=csrf,
        person=person,
        version=version,
        text=text,
    )


def render_approvals(
    *,
    pending: Sequence[ApprovalView],
    attention: Sequence[ApprovalView],
    decided: Sequence[ApprovalView],
    after: int,
    csrf: str,
    person: str,
    version: str,
) -> str:
    """Return the page of approvals: those that wait, those that somebody should look at, those decided lately.

    `after` is where its event stream goes on.
    """
    return _render(
        "page/approvals.html",
        pending=pending,
        attention=attention,
        decided=decided,
        after=after,
        csrf=csrf,
        person=person,
        version=version,
    )


def render_approval(
    view: ApprovalView,
    *,
    after: int,
    csrf: str,
    person: str,
    version: str,
    problem: str = "",
    given: Mapping[str, str] = _NOTHING_GIVEN,
) -> str:
    """Return the page of one approval, with its forms for a person; `given` is what stood in a form that was refused."""
    return _render(
        "page/approval.html",
        view=view,
        after=after,
        csrf=csrf,
        person=person,
        version=version,
        problem=visible(problem, _MAX_PROBLEM),
        given={**_NOTHING_GIVEN, **given},
    )


def render_decide(
    view: ApprovalView,
    *,
    token: str,
    approves: bool,
    is_current: bool,
    csrf: str,
    person: str,
    version: str,
    problem: str = "",
) -> str:
    """Return the page that a link leads to: what it would do, and a form that does it for who has logged in."""
    return _render(
        "page/decide.html",
        view=view,
        token=token,
        approves=approves,
        is_current=is_current,
        csrf=csrf,
        person=person,
        version=version,
        problem=visible(problem, _MAX_PROBLEM),
    )


def render_docs(description: Mapping[str, Any]) -> str:
    """Return the documentation of the API, from its OpenAPI description."""
    endpoints = [
        {"path": path, "method": method.upper(), **operation}
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    ]
    return _render(
        "page/docs.html",
        info=description["info"],
        endpoints=endpoints,
        schemas=description["components"]["schemas"],
    )


def _contains(row: Row, text: str) -> bool:
    words = text.casefold().split()
    whole = f"{row.principal} {row.action} {row.resource} {row.reason} {row.rule}".casefold()
    return all(word in whole for word in words)


def _render(name: str, **values: object) -> str:
    return _environment().get_template(name).render(**values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["pretty"] = lambda value: json.dumps(value, indent=2, ensure_ascii=False)
    return environment
