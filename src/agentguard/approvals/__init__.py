"""Asks people: one question for one request, who may answer it, how long, and what came of it.

Enters: a request that needs an approval, the moves of people, callers and the clock. Leaves: an `Approval` that
lets one action through once, audit records, events and notices. Called by: the decision point, the server, the
engines of `backends`. It must never decide about a policy, take a vote from who asked, let one approval be used
twice, or run the action.
"""

from agentguard.approvals._binding import bind
from agentguard.approvals._clock import SteadyClock
from agentguard.approvals._engine import EmbeddedEngine
from agentguard.approvals._follower import Follower
from agentguard.approvals._machine import begin, closed, make_move
from agentguard.approvals._notice import notice_of
from agentguard.approvals._patch import merge_patch
from agentguard.approvals._router import Router, rules_of
from agentguard.approvals._rules import CheckEdit, FindPerson, Rules, asked, check_patch, find_nobody
from agentguard.approvals._telling import (
    record_refusal,
    record_steps,
    refusal_record,
    step_record,
    tell_steps,
)
from agentguard.approvals._timers import advance, next_due
from agentguard.approvals._wait import wait_decided

__all__ = [
    "CheckEdit",
    "EmbeddedEngine",
    "FindPerson",
    "Follower",
    "Router",
    "Rules",
    "SteadyClock",
    "advance",
    "asked",
    "begin",
    "bind",
    "check_patch",
    "closed",
    "find_nobody",
    "make_move",
    "merge_patch",
    "next_due",
    "notice_of",
    "record_refusal",
    "record_steps",
    "refusal_record",
    "rules_of",
    "step_record",
    "tell_steps",
    "wait_decided",
]
