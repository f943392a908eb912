"""Changes of labels as requests: what is asked for, on what, and who can never ask."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from agentguard.core import Outcome, PrincipalKind, Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentguard.core import Principal, Regrade, Vouched
    from agentguard.flow import Regraded

# Who vouches in the process of the decision point, where nobody is named.
HOST = "host program"
_PLAIN = re.compile(r"[^A-Za-z0-9._@:+=-]")


def regrade_problem(asker: Principal, params: dict[str, Any]) -> str | None:
    """Return why `asker` can never change this label, whatever the rules say, or None.

    An agent that was talked into something would endorse what talked it into it.
    """
    if asker.kind is PrincipalKind.AGENT:
        return f"labels are changed by people and services, and {asker.id} is an agent"
    whose = params.get("principal")
    if whose == asker.id or whose in asker.on_behalf_of:
        return f"nobody changes labels for themselves, and {asker.id} acts here for {whose}"
    return None


def vouch_problem(words: Vouched) -> str | None:
    """Return why `by` cannot vouch for these words, or None: an agent would call its own words the user's."""
    by = words.by
    if not words.principal:
        return "nobody said whose session it is"
    if by is None:
        return None
    if by.kind is PrincipalKind.AGENT:
        return f"people and services vouch for words, and {by.id} is an agent"
    if words.principal in by.on_behalf_of:
        return f"nobody vouches for themselves, and {by.id} acts here for {words.principal}"
    return None


def vouch_record(words: Vouched, commit: Callable[[Any], Any]) -> dict[str, Any]:
    """Return the record of vouched words: a commitment to them and never the text."""
    return {
        "type": "vouch",
        "principal": words.principal,
        "context": {"session": words.session},
        "source": words.source,
        "by": HOST if words.by is None else words.by.id,
        "words": commit(words.text),
    }


def regrade_request(regrade: Regrade) -> Request:
    """Return the request that a change of a label is: the params as the catalogue declares them."""
    params: dict[str, Any] = {
        name: getattr(regrade, name) for name in ("session", "principal", "action", "param", "reason")
    }
    if regrade.value is not None:
        params["value"] = regrade.value
    else:
        params["source"] = regrade.source
    if regrade.integrity is not None:
        params["integrity"] = regrade.integrity.value
    if regrade.confidentiality is not None:
        params["confidentiality"] = regrade.confidentiality.value
    resource = f"flow/{_segment(regrade.principal)}/{_segment(regrade.session)}"
    return Request(regrade.by, regrade.kind, resource, params)


def _segment(name: str) -> str:
    """Return a name as one segment of a resource id; characters that could change its shape as `~` and hex."""
    shown = _PLAIN.sub(
        lambda match: "".join(f"~{byte:02x}" for byte in match[0].encode("utf-8", "replace")), name
    )
    return f"~2e{shown[1:]}" if shown.startswith(".") else shown


def regrade_outcome(audit_id: str, by: Principal, done: Regraded) -> Outcome:
    """Return the outcome to record of what was carried out."""
    before, after = done.before, done.after
    detail = (
        f"{before.integrity.value} {before.confidentiality.value}"
        f" to {after.integrity.value} {after.confidentiality.value}"
    )
    return Outcome(audit_id, "succeeded", detail, by.id)
