"""The pieces of the OpenAPI description: calls, questions, answers and errors."""

from __future__ import annotations

from typing import Any

_ERRORS = {
    "400": "Malformed: no JSON, a duplicate key, or the wrong shape",
    "401": "The token is missing or proves nobody",
    "403": "The token is valid and may not do this",
    "404": "There is no such session, source or action",
    "408": "The request arrived too slowly",
    "409": "The session has too many changed labels, or its name is taken",
    "413": "The body is too large",
    "421": "The `Host` is not this server's",
    "429": "Too many attempts to log in; the answer says how long to wait",
    "503": "The audit log takes no records",
}
# What every call with a body can be answered.
_ALWAYS = ("400", "401", "403", "408", "413", "421")


def post_of(summary: str, takes: str, call: object, gives: str | None, reply: object) -> dict[str, Any]:
    """Return the path of a call with a body."""
    good = (
        {"description": "Taken"}
        if gives is None
        else content_of("Decided, whatever the effect", ref_to(gives), reply)
    )
    body = {"required": True, "content": {"application/json": {"schema": ref_to(takes), "example": call}}}
    return {
        "post": {
            "summary": summary,
            "security": [{"agent": []}],
            "requestBody": body,
            "responses": {"204" if gives is None else "200": good, **errors_of(*_ALWAYS)},
        }
    }


def get_of(summary: str, schema: object | None, example: object, *, admin: bool = True) -> dict[str, Any]:
    """Return the path of a question; `admin` where it takes the admin token."""
    kind = "application/json" if schema is not None else "text/plain"
    good = content_of("Found", schema or {"type": "string"}, example, kind)
    operation: dict[str, Any] = {"summary": summary, "responses": {"200": good, **errors_of("421")}}
    if admin:
        operation["security"] = [{"admin": []}]
        operation["responses"] = {"200": good, **errors_of("400", "401", "403", "421")}
    return {"get": operation}


def content_of(text: str, schema: object, example: object, kind: str = "application/json") -> dict[str, Any]:
    """Return an answer with an example."""
    return {"description": text, "content": {kind: {"schema": schema, "example": example}}}


def errors_of(*statuses: str) -> dict[str, Any]:
    """Return the answers of these statuses, in the one shape of errors."""
    content = {"application/json": {"schema": ref_to("ErrorBody")}}
    return {status: {"description": _ERRORS[status], "content": content} for status in statuses}


def object_of(properties: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object that has all of these."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def ref_to(name: str) -> dict[str, str]:
    """Return a reference to a type."""
    return {"$ref": f"#/components/schemas/{name}"}
