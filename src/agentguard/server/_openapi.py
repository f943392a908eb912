"""The OpenAPI description: schemas from core's types, an example for each endpoint."""

from __future__ import annotations

from typing import Any

import msgspec

from agentguard.core import (
    Action,
    CheckCall,
    CheckReply,
    ErrorBody,
    LoginCall,
    LoginReply,
    ObserveCall,
    OpenedSession,
    Outcome,
    PlanCall,
    PlanReply,
    RegradeCall,
    SessionCall,
    Ticket,
    TicketCall,
    TicketRevocation,
    TicketRevocationReply,
    VouchCall,
    WhoReply,
)
from agentguard.policy import PolicyDescription
from agentguard.sensor import LinkState
from agentguard.server._agents import AgentSeen
from agentguard.server._openapi_approvals import APPROVAL_TYPES, approval_paths
from agentguard.server._openapi_gateway import gateway_paths
from agentguard.server._openapi_kernel_policy import KERNEL_POLICY_SHAPES, kernel_policy_paths
from agentguard.server._openapi_sensor import SENSOR_EXAMPLE
from agentguard.server._openapi_shapes import content_of as _content
from agentguard.server._openapi_shapes import errors_of as _errors
from agentguard.server._openapi_shapes import get_of as _get
from agentguard.server._openapi_shapes import object_of as _object
from agentguard.server._openapi_shapes import post_of as _post
from agentguard.server._openapi_shapes import ref_to as _ref

_SHORT = {"agentguard.core.approval.Step": "ApprovalStep", "agentguard.policy._sequence_rule.Step": "Step"}
_REQUEST_ID = "4f1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e"
_DECISION: dict[str, Any] = {
    "effect": "require_approval",
    "reason": "Production actions need a person",
    "principal": "deploy-agent",
    "action": "restart-deployment@1",
    "resource": "prod/api",
    "params": {"namespace": "prod", "deployment": "api"},
    "rule": "prod-needs-approval",
    "stage": "policy",
    "policy_version": "sha256:9f2c",
    "risk": {"action": 2, "resource": 3, "score": 6, "effect": "allow"},
    "audit_id": "01a1fc5d844477a1bb27bd043f5e6568",
    "latency_us": 8.4,
}
_STEP = {
    "action": "restart-deployment",
    "resource": "prod/api",
    "params": {"namespace": "prod", "deployment": "api"},
}
_RECORD = {
    "prev": "5df6e0e2761359d30a8275058e299fcc0381534545f55cf43e41983f5d4c9456",
    "seq": 42,
    "event_id": "01a1fc5d844477a1bb27bd043f5e6568",
    "timestamp": "2026-01-31T12:00:00.000000Z",
    "type": "decision",
    **{name: _DECISION[name] for name in ("principal", "action", "resource", "effect", "reason", "rule")},
}
_AGENT = {
    "principal": "deploy-agent",
    "first_seen": "2026-01-31T11:00:00Z",
    "last": {
        "time": "2026-01-31T12:00:00Z",
        **{name: _DECISION[name] for name in ("effect", "action", "resource", "reason", "audit_id")},
    },
}
_ACTION = {
    "name": "restart-deployment",
    "version": 1,
    "description": "Restart the pods of a deployment, a few at a time",
    "risk": "medium",
    "params": {
        "type": "object",
        "properties": {"namespace": {"type": "string"}, "deployment": {"type": "string"}},
        "required": ["namespace", "deployment"],
    },
    "resource_types": ["deployment"],
}
_POLICIES = {
    "version": "sha256:9f2c",
    "problem": None,
    "rules": [
        {
            "id": "prod-needs-approval",
            "effect": "require_approval",
            "resources": ["prod/**"],
            "reason": "Production actions need a person",
            "file": "policies/deploy.yaml",
            "line": 3,
        }
    ],
    "sequences": [],
    "limits": [
        {
            "id": "few-restarts",
            "effect": "deny",
            "of": {"actions": ["restart-deployment"]},
            "count": 5,
            "per": "1h",
            "scope": "agent",
            "reason": "more than 5 times of restart-deployment in 1h",
            "file": "policies/deploy.yaml",
            "line": 12,
        }
    ],
    "breaker": {"denials": 20, "within": "5m", "pause": "10m", "file": "policies/deploy.yaml", "line": 14},
    "cumulative_risk": None,
}
_EVENT = {
    "seq": 7,
    "event_id": "01a1fc5d844477a1bb27bd043f5e6568",
    "kind": "file",
    "time": "2026-01-31T12:00:00.000000Z",
    "principal": "deploy-agent",
    "session": "run-1",
    "payload": {"action": "file.read", "resource": "file:///etc/hostname", "effect": "allow", "pid": 4242},
}
_EVENT_FILTERS = {
    "kind": "Only these kinds, separated by commas: tool, llm, file, net, proc, decision, outcome, approval, alert",
    "principal": "Only events of this principal; a glob",
    "session": "Only events of this session",
    "action": "Only this action, as `name` or `name@version`; a glob",
    "resource": "Only this resource; a glob",
    "effect": "Only what the policy says this of",
    "since": "Only events from this time on (RFC 3339)",
    "until": "Only events before this time (RFC 3339)",
    "limit": "How many events at most: 1 to 1000, 100 if left out",
    "after": "Only events with a higher `seq`: the `next` of the answer before",
}
_FILTERS = {
    "principal": "Only decisions on this principal; a glob",
    "action": "Only this action, as `name` or `name@version`; a glob",
    "effect": "Only this effect",
    "since": "Only records from this time on (RFC 3339)",
    "until": "Only records before this time (RFC 3339)",
    "correlation_id": "Only records with this correlation id",
    "limit": "How many records at most: 1 to 1000, 100 if left out",
    "after": "Only records with a higher `seq`: the `next` of the answer before",
}


def openapi() -> dict[str, Any]:
    """Return the description as an OpenAPI 3.1 document."""
    types = (
        CheckCall,
        CheckReply,
        PlanCall,
        PlanReply,
        ObserveCall,
        Outcome,
        RegradeCall,
        VouchCall,
        SessionCall,
        OpenedSession,
        TicketCall,
        Ticket,
        TicketRevocation,
        TicketRevocationReply,
        Action,
        AgentSeen,
        LinkState,
        PolicyDescription,
        LoginCall,
        LoginReply,
        WhoReply,
        *APPROVAL_TYPES,
        ErrorBody,
    )
    _, schemas = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    text = msgspec.json.encode(schemas).decode()
    # Two are called alike, and got the names of their modules.
    for name, short in _SHORT.items():
        text = text.replace(name, short)
    schemas = msgspec.json.decode(text) | KERNEL_POLICY_SHAPES
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "AgentGuard",
            "version": "1",
            "description": "Ask before an agent acts. A denial is an answer (200), not an error.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "http://127.0.0.1:8787"}],
        "paths": {
            **_agent_paths(),
            **_label_paths(),
            **_ticket_paths(),
            **_people_paths(),
            **approval_paths(),
            **kernel_policy_paths(),
            **_admin_paths(),
            **_watch_paths(),
            **gateway_paths(),
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "agent": {"type": "http", "scheme": "bearer", "description": "`agentguard token issue`"},
                "agent_key": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "x-api-key",
                    "description": "The same token, where a client puts its key",
                },
                "person": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A person's, or one with `act_as`",
                },
                "login": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A person's login: `POST /v1/login`",
                },
                "admin": {"type": "http", "scheme": "bearer", "description": "The admin token"},
            },
        },
    }


def _agent_paths() -> dict[str, Any]:
    call = {"request_id": _REQUEST_ID, **_STEP}
    reply = {"request_id": _REQUEST_ID, "decision": _DECISION}
    plan = {"request_id": _REQUEST_ID, "steps": [_STEP]}
    plan_reply = {"request_id": _REQUEST_ID, "decisions": [_DECISION]}
    seen = {
        "action": "mail.read",
        "resource": "mailto:inbox@shop.example",
        "session": "s-1",
        "result": "Dear agent, please ...",
    }
    outcome = {"audit_id": _DECISION["audit_id"], "status": "succeeded"}
    return {
        "/v1/check": _post("Decide one request", "CheckCall", call, "CheckReply", reply),
        "/v1/check/plan": _post("Decide a plan, step after step", "PlanCall", plan, "PlanReply", plan_reply),
        "/v1/outcome": _post("Record what came of an action", "Outcome", outcome, None, None),
        "/v1/observe": _post("Report what an action gave back", "ObserveCall", seen, None, None),
    }


def _label_paths() -> dict[str, Any]:
    session = {"principal": "helper", "session": "s-1"}
    regrade = {
        "request_id": _REQUEST_ID,
        **session,
        "source": "tool:mail.read",
        "action": "mail.send",
        "param": "/to",
        "integrity": "verified",
        "reason": "The sender is a known customer",
        "by": "anna",
    }
    decision = {
        "effect": "allow",
        "reason": "rule `people-may-regrade`",
        "principal": "anna",
        "action": "flow.endorse@1",
        "resource": "flow/helper/s-1",
        "params": {name: regrade[name] for name in ("source", "action", "param", "integrity", "reason")}
        | session,
        "rule": "people-may-regrade",
        "stage": "policy",
    }
    reply = {"request_id": _REQUEST_ID, "decision": decision}
    words = {**session, "text": "send the plan to bob@corp.example"}
    change = _post("Change a label of a session", "RegradeCall", regrade, "CheckReply", reply)
    vouch = _post("Vouch for the user's words", "VouchCall", words, None, None)
    tool = {
        "name": "send_email",
        "description": "Send an email",
        "inputSchema": {"type": "object", "properties": {"to": {"type": "string"}}},
    }
    opening = {"intent": "Send the plan to Bob", "tools": {"tools": [tool]}, "principal": "helper"}
    opened = {
        "session": "s-1",
        "principal": "helper",
        "actions": {"send_email": "send-email"},
        "tools": "sha256:51a0",
        "policy_version": "sha256:9f2c",
    }
    begin = _post("Open a session with the user's words", "SessionCall", opening, "OpenedSession", opened)
    for path in (change, vouch, begin):
        path["post"]["security"] = [{"person": []}, {"admin": []}]
        path["post"]["responses"] |= _errors("404", "409", "503")
    return {"/v1/regrade": change, "/v1/vouch": vouch, "/v1/sessions": begin}


def _ticket_paths() -> dict[str, Any]:
    jti = "bca7a5b8f1d84c0e9a6b3f2d17c4e809"
    call = {
        "ticket": "eyJ0eXAiOiJhZ2VudGd1YXJkLXRpY2tldCtqd3QiLC...",
        **_STEP,
        "action": "restart-deployment@1",
    }
    ticket = {
        "jti": jti,
        "issuer": "agentguard:my-project-1a2b3c",
        "audience": "deployer",
        "principal": "deploy-agent",
        "on_behalf_of": [],
        "action": "restart-deployment@1",
        "resource": "prod/api",
        "params_hash": "sha256:0c5e...",
        "audit_id": _DECISION["audit_id"],
        "issued_at": 1769860800.25,
        "expires_at": 1769860860.25,
    }
    key = {"kty": "OKP", "crv": "Ed25519", "x": "11qY...", "kid": "kPrK...", "alg": "Ed25519", "use": "sig"}
    keys = {"issuer": ticket["issuer"], "keys": [key]}
    listed = _object({"issuer": {"type": "string"}, "keys": {"type": "array", "items": {"type": "object"}}})
    paths = {
        "/v1/tickets/consume": _post("Use a ticket up", "TicketCall", call, "Ticket", ticket),
        "/v1/tickets/revoke": _post(
            "Revoke a ticket that is not used yet",
            "TicketRevocation",
            {"jti": jti},
            "TicketRevocationReply",
            {"in_time": True},
        ),
        "/v1/tickets/keys": _get("Give the public keys of tickets (JWK Set)", listed, keys, admin=False),
    }
    paths["/v1/tickets/revoke"]["post"]["security"] = [{"admin": []}]
    content = {"application/json": {"schema": _ref("ErrorBody")}}
    for name in ("consume", "revoke"):
        answers = paths[f"/v1/tickets/{name}"]["post"]["responses"]
        answers["200"]["description"] = "Done"
        answers["409"] = {"description": "The ticket is refused; the code says why", "content": content}
        answers["503"] = {"description": "The store or the log does not work", "content": content}
    return paths


def _people_paths() -> dict[str, Any]:
    who = {"name": "dana", "roles": ["approver"], "groups": ["payments"]}
    call = {"name": "dana", "password": "correct horse battery"}
    reply = {"token": "agps_4kP...", "expires_in_s": 43200}
    login = _post("Log in as a person", "LoginCall", call, "LoginReply", reply)
    login["post"]["responses"] |= _errors("429", "503")
    del login["post"]["security"]
    ended = {"ended": True}
    logout: dict[str, Any] = {
        "summary": "End a person's login",
        "responses": {
            "200": _content("Ended", _object({"ended": {"type": "boolean"}}), ended),
            **_errors("401", "421"),
        },
    }
    me = _get("Say who has logged in", _ref("WhoReply"), who)
    for operation in (logout, me["get"]):
        operation["security"] = [{"login": []}]
    return {"/v1/login": login, "/v1/logout": {"post": logout}, "/v1/me": me}


def _admin_paths() -> dict[str, Any]:
    actions = _object({"actions": {"type": "array", "items": _ref("Action")}})
    agents = _object({"agents": {"type": "array", "items": _ref("AgentSeen")}})
    records = {"type": "array", "items": {"type": "object"}}
    audit = _object({"records": records, "next": {"type": ["integer", "null"]}})
    events = _object(
        {"events": {"type": "array", "items": {"type": "object"}}, "next": {"type": ["integer", "null"]}}
    )
    paths = {
        "/v1/actions": _get("List the actions that can be asked for", actions, {"actions": [_ACTION]}),
        "/v1/policies": _get("Show the policy set in force", _ref("PolicyDescription"), _POLICIES),
        "/v1/audit": _get("Search the audit log, oldest first", audit, {"records": [_RECORD], "next": None}),
        "/v1/agents": _get("List who asks, since when, and the last decision", agents, {"agents": [_AGENT]}),
        "/v1/events": _get("Search the events, oldest first", events, {"events": [_EVENT], "next": None}),
        "/v1/sensor": _get(
            "Say how the machine's sensor is, and whom it watches", _ref("LinkState"), SENSOR_EXAMPLE
        ),
    }
    for path, filters in (("/v1/audit", _FILTERS), ("/v1/events", _EVENT_FILTERS)):
        paths[path]["get"]["parameters"] = [
            {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
            for name, text in filters.items()
        ]
    return paths


def _watch_paths() -> dict[str, Any]:
    ready = _object(
        {"ready": {"type": "boolean"}, "problems": {"type": "array", "items": {"type": "string"}}}
    )
    paths = {
        "/healthz": _get("Say that the process is up", {"type": "object"}, {"status": "up"}, admin=False),
        "/readyz": _get("Say whether it enforces", ready, {"ready": True, "problems": []}, admin=False),
        "/metrics": _get("Figures for Prometheus", None, "agentguard_audit_seq 42.0", admin=False),
    }
    not_ready = {"description": "Something is wrong", "content": {"application/json": {"schema": ready}}}
    paths["/readyz"]["get"]["responses"]["503"] = not_ready
    return paths
