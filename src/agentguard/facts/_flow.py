"""What moves: whether data leaves, and whether what is read is sensitive. Put together from the other facts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentguard.core import Sensitivity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agentguard.core import Resource
    from agentguard.facts._plan import Plan

# Not the account files: every C library reads them.
SENSITIVE_CLASSES = frozenset(
    ("password_hash", "ssh_key", "cloud_credential", "secret_file", "process_memory", "sensitive_directory")
)  # fmt: skip
# Programs that carry what they are given to a host that they are told.
SENDERS = frozenset(
    ("curl", "wget", "nc", "ncat", "netcat", "socat", "telnet", "ssh", "scp", "sftp", "rsync", "ftp", "tftp", "http", "mail", "sendmail")
)  # fmt: skip
_OUTSIDE = frozenset(("none", "third_party"))
_INSIDE = frozenset(("internal", "llm", "project", "inventory"))


def is_sensitive(resource: Resource) -> bool:
    """Tell whether the inventory lists a resource as restricted or above; what it does not list is not known."""
    level = resource.sensitivity
    return resource.listed and level is not None and level.weight >= Sensitivity.RESTRICTED.weight


def reads_sensitive(plan: Plan, resource: Resource, merged: Mapping[str, Any]) -> bool:
    """Return `flow.sensitive`; `merged` are the facts that are known of the request."""
    if plan.gives_secrets or (plan.gives and is_sensitive(resource)):
        return True
    if not SENSITIVE_CLASSES.isdisjoint(merged.get("shell.read_classes", ())):
        return True
    return "read" in merged.get("path.access", ()) and not SENSITIVE_CLASSES.isdisjoint(
        merged.get("path.class", ())
    )


def leaves(
    plan: Plan, resource: Resource, parts: Iterable[Mapping[str, Any]], merged: Mapping[str, Any]
) -> bool:
    """Return `flow.egress`; `parts` are the facts by argument, `merged` all of them together.

    Hosts and recipients say where it goes; where there are none, what the inventory lists is inside.
    """
    if not plan.egress:
        sends = not SENDERS.isdisjoint(merged.get("shell.commands", ()))
        return sends and any(map(_goes_outside, parts))
    if merged.get("net.unparsed") or merged.get("mail.unparsed"):
        return True
    if any(map(_goes_outside, parts)) or merged.get("mail.external"):
        return True
    if "net.host" in merged or "mail.count" in merged:
        return False
    return not resource.listed


def _goes_outside(facts: Mapping[str, Any]) -> bool:
    lists = facts.get("net.list", ())
    if _OUTSIDE.isdisjoint(lists):
        return False
    # Of several hosts in one argument nobody can tell which list is whose.
    return len(facts["net.host"]) > 1 or "none" in lists or _INSIDE.isdisjoint(lists)
