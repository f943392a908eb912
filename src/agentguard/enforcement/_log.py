"""Logs a decision where it is enforced: the facts as fields, none of the parameters."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from agentguard.core import Effect
from agentguard.enforcement._obligation import obligation_problem

if TYPE_CHECKING:
    from agentguard.core import Decision

# An attribute of an enumeration takes as long as a call.
_ALLOW, _TRANSFORM, *_ = Effect
_LOGGER = logging.getLogger("agentguard.pep")


def log_decision(decision: Decision) -> None:
    """Log to `agentguard.pep`: at the loudest `log_level` it asks for, else debug, or info when it stops an action.

    The fields stand on the record (`effect`, `principal`, `action`, `resource`, `reason`, `rule`, `stage`,
    `correlation_id`, `audit_id`); they are partly an agent's words, and the message itself has none of them.
    """
    level = _level(decision)
    if not _LOGGER.isEnabledFor(level):
        return
    fields = {
        "effect": decision.effect.value,
        "principal": decision.principal,
        "action": decision.action,
        "resource": decision.resource,
        "reason": decision.reason,
        "rule": decision.rule,
        "stage": decision.stage,
        "correlation_id": decision.correlation_id,
        "audit_id": decision.audit_id,
    }
    _LOGGER.log(level, "decided %s", decision.effect.value, extra=fields)


def _level(decision: Decision) -> int:
    lets_through = decision.effect is _ALLOW or decision.effect is _TRANSFORM
    usual = logging.DEBUG if lets_through else logging.INFO
    if not decision.obligations:
        return usual
    levels = [
        getattr(logging, obligation.value.upper())
        for obligation in decision.obligations
        if obligation.name == "log_level" and obligation_problem(obligation) is None
    ]
    return max(levels, default=usual)
