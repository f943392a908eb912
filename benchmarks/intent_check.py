"""What `session.check` costs in a session that has seen 40 results of 4 kB, with its record and without.

Run: `python -m benchmarks intent_check`. Five calls in turn: a target that the user named, with a body that quotes a
result; one that his words select; a search; one that a record gives; one that was never seen. No text is one that was checked before. From the
thirty-first on, a shipped limit asks people about sends: each is a new question, kept durably, and a row of its own.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import tempfile
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from agentguard import Guard
from agentguard.assembly import default_project
from agentguard.core import Effect
from agentguard.pdp import PolicyDecisionPoint
from benchmarks import report
from benchmarks.measure import Cost, cost

if TYPE_CHECKING:
    from agentguard.clients import ToolSession
    from agentguard.core import Decision

RESULTS = 40
SIZE = 4_096
CALLS = 4_000
# So many in one session a shipped limit lets through without asking.
_SENDS = 30
GOAL_US = 100

# From a number, so that no text is one that was checked before: the tool and its arguments.
Call = Callable[[int], tuple[str, dict[str, Any]]]
_TEXT = {"type": "string"}


def _tool(name: str, description: str, **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"name": name, "description": description, "input_schema": schema}


TOOLS = [
    _tool("search_emails", "Search the emails of the user", query=_TEXT),
    _tool("search_contacts", "Search contacts by name", query=_TEXT),
    _tool("delete_email", "Delete an email by its id", email_id=_TEXT),
    _tool(
        "send_email",
        "Send an email to recipients",
        recipients={"type": "array", "items": _TEXT},
        subject=_TEXT,
        body=_TEXT,
    ),
]
_MAIL = {"recipients": ["carol@example.com"], "subject": "harbour"}
PROMPT = (
    "Please look through my emails about the harbour project, send a summary to Bob Anders and to"
    " carol@example.com, and delete the email about the parking lot."
)


def _results(chance: random.Random) -> list[tuple[str, list[dict[str, Any]]]]:
    words = [f"word{number}" for number in range(2_000)]
    found = []
    for number in range(RESULTS):
        mails: list[dict[str, Any]] = []
        while len(json.dumps(mails)) < SIZE:
            body = " ".join(chance.choices(words, k=60))
            who = f"person{chance.randrange(10_000)}@example.org"
            mails.append(
                {
                    "id": f"m{number}-{len(mails)}",
                    "sender": who,
                    "subject": f"note {number}",
                    "body": f"{body} {who}",
                }
            )
        found.append((f"note {number}", mails))
    found[7][1][0]["subject"] = "parking lot"
    return found


def _session(guard: Guard) -> tuple[ToolSession, list[Call], float]:
    """Return a session that has seen the results, the calls to check, and what a result cost in µs of processor time."""
    session = guard.session(intent=PROMPT, tools=TOOLS)
    results = _results(random.Random(7))
    begin = time.process_time()
    for query, mails in results:
        session.observe({"tool": "search_emails", "args": {"query": query}}, mails)
    observed = (time.process_time() - begin) * 1e6 / RESULTS
    contacts = [
        {"name": "Bob Anders", "email": "bob@example.net"},
        {"name": "Eve", "email": "eve@example.net"},
    ]
    session.observe({"tool": "search_contacts", "args": {"query": "Bob Anders"}}, contacts)
    quoted, selected = results[3][1][0]["body"][:300], results[7][1][0]["id"]
    bob = {"recipients": ["bob@example.net"]}
    calls: list[Call] = [
        lambda number: ("send_email", {**_MAIL, "body": f"{quoted} {number}"}),
        lambda number: ("send_email", {**_MAIL, **bob, "body": f"a short summary {number}"}),
        lambda number: ("search_emails", {"query": f"harbour project {number}"}),
        lambda _: ("delete_email", {"email_id": selected}),
        lambda number: ("delete_email", {"email_id": f"unseen-{number}"}),
    ]
    return session, calls, observed


def measure(guard: Guard, *, asks: bool | None = None) -> tuple[Cost, float]:
    """Return the cost of a check, and the processor time in µs that a result took.

    With `asks` only of the calls for which people are asked, or only of the others.
    """
    session, calls, observed = _session(guard)
    numbers = itertools.count()

    def check(call: Call) -> Decision:
        return session.check(*call(next(numbers)))

    if asks is not None:
        for call in calls * _SENDS:
            check(call)
        calls = [each for each in calls if (check(each).effect is Effect.REQUIRE_APPROVAL) == asks]
    return cost(check, calls, calls=CALLS if not asks else CALLS // 8), observed


def main() -> None:
    with tempfile.TemporaryDirectory() as state:
        os.environ["XDG_STATE_HOME"] = state
        world = default_project().world()
        with Guard(PolicyDecisionPoint(world), principal="helper") as guard:
            unrecorded, _ = measure(guard)
        with Guard.open(principal="helper") as guard:
            recorded, observed = measure(guard, asks=False)
        with Guard.open(principal="helper") as guard:
            asked, _ = measure(guard, asks=True)
    report.table(
        f"session.check after {RESULTS} results of {SIZE:,} bytes",
        ("", *report.COST_COLUMNS),
        [
            ("without a record", *report.cost_cells(unrecorded)),
            ("recorded with write(2), `os`", *report.cost_cells(recorded)),
            ("the same, a question to people kept", *report.cost_cells(asked)),
        ],
        notes=[
            f"p99 must be at most {GOAL_US} µs",
            f"session.observe of such a result: {observed:,.0f} µs of processor time",
        ],
    )


if __name__ == "__main__":
    main()
