"""The part of the OpenAPI description that is about approvals."""

from __future__ import annotations

from typing import Any

from agentguard.core import (
    Approval,
    ApprovalList,
    ApprovalStatus,
    CancelCall,
    DeferCall,
    DelegateCall,
    GlassCall,
    ReviewCall,
    VoteCall,
    WaitCall,
)
from agentguard.server._openapi_shapes import content_of, errors_of, get_of, post_of, ref_to

APPROVAL_TYPES = (
    Approval,
    ApprovalList,
    ApprovalStatus,
    WaitCall,
    VoteCall,
    DeferCall,
    DelegateCall,
    GlassCall,
    ReviewCall,
    CancelCall,
)
_ID = "ap-3f0c9a1be27d4c5586aa"
_STATUS = {"id": _ID, "state": "pending", "revision": 1, "deadline": "2026-01-31T13:00:00Z"}
_APPROVAL = {
    "id": _ID,
    "binding": "sha256:5d1f...",
    "basis": "sha256:77ab...",
    "principal": "deploy-agent",
    "action": "restart-deployment@1",
    "resource": "prod/api",
    "params": {"namespace": "prod", "deployment": "api"},
    "policy_version": "sha256:9f2c",
    "rule": "prod-needs-approval",
    "reason": "Production actions need a person",
    "risk": "medium",
    "route": {"groups": ["ops"], "limit_s": 14400.0},
    "opened_at": "2026-01-31T12:00:00Z",
    "deadline": "2026-01-31T16:00:00Z",
    "revision": 1,
    "steps": [{"kind": "opened", "at": "2026-01-31T12:00:00Z", "by": "deploy-agent"}],
}
_QUERY = {
    "state": "Only these states, separated by commas",
    "principal": "Only what this principal asked for",
    "effect_unknown": "`true`: only what was dispatched and nobody knows the effect of",
    "awaits_review": "`true`: only emergencies that nobody has reviewed",
    "limit": "How many at most: 1 to 1000, 100 if left out",
    "after": "Only what changed after this place: the `next` of the answer before",
    "newest": "`true`: the newest in place of the first",
}
_WAIT = {"wait": "Seconds to wait, up to 60, until it is decided"}
# What a person does: the summary, what the body says, an example of it.
_ACTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "vote": ("Approve or deny, perhaps with a change", "VoteCall", {"approve": True, "note": "seen", "edition": 0}),
    "defer": ("Put it off", "DeferCall", {"for_s": 1800}),
    "delegate": ("Give one's vote to somebody else", "DelegateCall", {"to": "eli"}),
    "break-glass": ("Let it through in an emergency", "GlassCall", {"reason": "the shop is down"}),
    "review": ("Review an emergency", "ReviewCall", {"justified": True}),
}  # fmt: skip


def approval_paths() -> dict[str, Any]:
    """Return the paths."""
    listed = get_of(
        "List approvals, by their last change",
        ref_to("ApprovalList"),
        {"approvals": [_APPROVAL], "next": None},
    )
    listed["get"]["parameters"] = _parameters(_QUERY)
    one = get_of("Show an approval; to the agent that asked, where it stands", ref_to("Approval"), _APPROVAL)
    one["get"]["parameters"] = [_path_id(), *_parameters(_WAIT)]
    one["get"]["security"] = [{"login": []}, {"admin": []}, {"agent": []}]
    stream = get_of(
        "Follow approvals as server-sent events", None, f'id: 7\nevent: approval\ndata: {{"id": "{_ID}"}}'
    )
    stream["get"]["responses"]["200"] = content_of(
        "One event a change",
        {"type": "string"},
        f'id: 7\nevent: approval\ndata: {{"id": "{_ID}"}}',
        "text/event-stream",
    )
    for each in (listed, stream):
        each["get"]["security"] = [{"login": []}, {"admin": []}]
    waited = {"approval": _ID, "timeout_s": 20}
    paths = {
        "/v1/approvals": listed,
        "/v1/approvals/stream": stream,
        "/v1/approvals/wait": post_of(
            "Wait for one's own approval", "WaitCall", waited, "ApprovalStatus", _STATUS
        ),
        "/v1/approvals/{id}": one,
        "/v1/approvals/{id}/cancel": _act(
            post_of("Withdraw what one asked for", "CancelCall", {}, "ApprovalStatus", _STATUS)
        ),
    }
    for name, (summary, takes, call) in _ACTS.items():
        act = _act(post_of(summary, takes, call, "Approval", _APPROVAL))
        act["post"]["security"] = [{"login": []}]
        paths[f"/v1/approvals/{{id}}/{name}"] = act
    paths["/v1/slack/interactions"] = _slack()
    for path in (one["get"], paths["/v1/approvals/wait"]["post"]):
        path["responses"] |= errors_of("404", "503")
    return paths  # fmt: skip


def _slack() -> dict[str, Any]:
    """Return the path that Slack calls; a signature is its proof, and no token."""
    body = {
        "schema": {"type": "object", "properties": {"payload": {"type": "string"}}, "required": ["payload"]},
        "example": {"payload": '{"type": "block_actions", "user": {"id": "U024BE7LH"}, "actions": []}'},
    }
    answers = {
        "200": content_of("Taken; who clicked is told in Slack", {"type": "string"}, "", "text/plain"),
        **errors_of("400", "401", "403", "408", "413", "421"),
        "404": {**errors_of("404")["404"], "description": "The project takes no clicks from Slack"},
    }
    answers["401"]["description"] = "Slack has not signed it"
    answers["403"]["description"] = "It is too old, comes twice, or is none of ours"
    headers = {
        "X-Slack-Request-Timestamp": "When it was signed, in Unix seconds; five minutes ago at most",
        "X-Slack-Signature": "`v0=` and the HMAC-SHA256 over `v0:timestamp:body`, in hexadecimal",
    }
    return {
        "post": {
            "tags": ["slack"],
            "summary": "Take a click on a button in Slack",
            "parameters": [
                {
                    "name": name,
                    "in": "header",
                    "required": True,
                    "description": text,
                    "schema": {"type": "string"},
                }
                for name, text in headers.items()
            ],
            "requestBody": {"required": True, "content": {"application/x-www-form-urlencoded": body}},
            "responses": answers,
        }
    }


def _act(path: dict[str, Any]) -> dict[str, Any]:
    """Return the path with what only acts on an approval have."""
    operation = path["post"]
    operation["parameters"] = [_path_id()]
    operation["responses"] |= errors_of("404", "409", "503")
    operation["responses"]["200"]["description"] = "Done"
    operation["responses"]["404"]["description"] = "There is no such approval"
    operation["responses"]["409"]["description"] = "It is refused; the code says why"
    return path


def _path_id() -> dict[str, Any]:
    return {
        "name": "id",
        "in": "path",
        "required": True,
        "description": "The approval's id",
        "schema": {"type": "string"},
    }


def _parameters(about: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
        for name, text in about.items()
    ]
