"""`session.check` in a session that has seen 40 results of 4 kB: `python -m benchmarks.intent_check`.

Processor time, so that other load on the machine does not count. Each check is of another call than the one before:
a target that the user named, one that his words select, one that only a text gives, and a body that quotes a result.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import tempfile
import time
from typing import Any

from agentguard import Guard

RESULTS = 40
SIZE = 4_096
CHECKS = 4_000
GOAL_US = 100.0

_WRITTEN = frozenset(("subject", "body", "query"))
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


def measure() -> dict[str, float]:
    """Return the processor time of a check in microseconds: the median, the 99th percentile, the worst."""
    chance = random.Random(7)
    with tempfile.TemporaryDirectory() as state:
        os.environ["XDG_STATE_HOME"] = state
        with Guard.open(principal="helper") as guard:
            session = guard.session(intent=PROMPT, tools=TOOLS)
            results = _results(chance)
            begin = time.process_time()
            for query, mails in results:
                session.observe({"tool": "search_emails", "args": {"query": query}}, mails)
            observed = (time.process_time() - begin) * 1e6 / RESULTS
            contacts = [
                {"name": "Bob Anders", "email": "bob@example.net"},
                {"name": "Eve", "email": "eve@example.net"},
            ]
            session.observe({"tool": "search_contacts", "args": {"query": "Bob Anders"}}, contacts)
            quoted = results[3][1][0]["body"][:300]
            calls: list[tuple[str, dict[str, Any]]] = [
                ("send_email", {"recipients": ["carol@example.com"], "subject": "harbour", "body": quoted}),
                (
                    "send_email",
                    {"recipients": ["bob@example.net"], "subject": "harbour", "body": "a short summary"},
                ),
                ("search_emails", {"query": "harbour project"}),
                ("delete_email", {"email_id": results[7][1][0]["id"]}),
            ]
            times = []
            for number in range(CHECKS):
                tool, args = calls[number % len(calls)]
                # No text is one that was seen before, as what an agent writes is not.
                args = {name: f"{text} {number}" if name in _WRITTEN else text for name, text in args.items()}
                begin = time.process_time_ns()
                session.check(tool, args)
                times.append((time.process_time_ns() - begin) / 1_000)
    times.sort()
    return {
        "median_us": statistics.median(times),
        "p99_us": times[int(len(times) * 0.99)],
        "worst_us": times[-1],
        "observe_us": observed,
    }


def main() -> None:
    """Print the figures, the best of three runs: what disturbs a run only makes it slower."""
    runs = [measure() for _ in range(3)]
    best = min(runs, key=lambda each: each["p99_us"])
    print(json.dumps({name: round(value, 1) for name, value in best.items()} | {"goal_p99_us": GOAL_US}))


if __name__ == "__main__":
    main()
