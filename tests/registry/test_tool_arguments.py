from __future__ import annotations

from typing import Any

import pytest

from agentguard.core import Argument, Role
from agentguard.registry import ImportedAction, import_tools

T, P, C = Role.TARGET, Role.PAYLOAD, Role.CONTROL
S = {"type": "string"}


def one(
    tool: str, name: str, schema: dict[str, Any], *, required: bool = True
) -> tuple[ImportedAction, Argument]:
    params = {"type": "object", "properties": {name: schema}, "required": [name] if required else []}
    (imported,) = import_tools([{"name": tool, "description": "", "parameters": params}])
    (argument,) = imported.action.arguments.values()
    return imported, argument


CASES = [
    ("send_email", "to", S, T, "recipient"),
    ("send_email", "recipientEmailAddress", S, T, "recipient"),
    ("send_email", "body", S, P, "text"),
    ("send_email", "replyToMessageId", S, T, "id"),
    ("send_message", "channel_name", S, T, "recipient"),
    ("transfer", "from", S, T, "account"),
    ("wire_money", "from", S, T, "account"),
    ("copy_file", "from", S, T, "path"),
    ("search_flights", "from", S, T, "name"),
    ("pay", "amount", {"type": "number"}, P, "amount"),
    ("list_orders", "min_amount", {"type": "number"}, C, ""),
    ("book_hotel", "num_guests", {"type": "integer"}, P, "amount"),
    ("book_hotel", "guests", {"type": "integer"}, P, "amount"),
    ("cancel_booking", "booking", {"type": "integer"}, T, "id"),
    ("book_hotel", "guests", {"type": "array", "items": S}, T, "recipient"),
    ("create_event", "start", S, P, "date"),
    ("list_events", "start", S, C, ""),
    ("create_event", "location", S, P, "text"),
    ("create_channel", "name", S, P, "name"),
    ("delete_channel", "name", S, T, "name"),
    ("delete_page", "title", S, T, "name"),
    ("write_file", "filename", S, T, "path"),
    ("write_file", "file_content", S, P, "text"),
    ("set_password", "new_password", S, P, "secret"),
    ("list_x", "page_token", S, C, ""),
    ("list_x", "sort_by", S, C, ""),
    ("list_x", "include_deleted", S, C, ""),
    ("get_weather", "city", S, T, "name"),
    ("run_code", "code", S, T, "command"),
    ("apply_coupon", "code", S, P, "text"),
    ("add_address", "zip_code", S, P, "text"),
    ("update_address", "postcode", S, P, "text"),
    ("add_review", "stars", {"type": "integer"}, P, "amount"),
    ("order_item", "product_code", S, T, "id"),
    ("answer", "nr", {"type": "integer"}, T, "id"),
    ("apply_change", "shiftNo", {"type": "integer"}, T, "id"),
    ("verify", "security_code", S, P, "secret"),
    ("connect", "ip_address", S, T, "host"),
    ("run_database_query", "query", S, T, "command"),
    ("search", "query", S, P, "text"),
    ("update_x", "value", {"type": "number"}, P, "amount"),
    ("get_x", "sql", S, T, "command"),
    ("send", "card_number", S, T, "account"),
    ("do_it", "zz", {"type": "string", "format": "email"}, T, "recipient"),
    ("do_it", "zz", {"type": "string", "format": "uri"}, T, "url"),
    ("do_it", "zz", {"type": "string", "format": "uuid"}, T, "id"),
    ("do_it", "zz", {"type": "string", "format": "date-time"}, P, "date"),
    ("do_it", "zz", {"type": "string", "format": "password"}, P, "secret"),
    ("do_it", "zz", {"type": "string", "format": "byte"}, P, ""),
    ("do_it", "zz", {"type": "array", "items": {"type": "string", "format": "email"}}, T, "recipient"),
    ("do_it", "zz", {"type": "boolean"}, C, ""),
    ("do_it", "recipient", {"type": "boolean"}, C, ""),
    ("do_it", "zz", {"const": 3}, C, ""),
    ("do_it", "zz", {"enum": ["a", "b"]}, C, ""),
    ("do_it", "account", {"enum": ["a", "b"]}, T, "account"),
    ("add_user", "role", {"enum": ["a", "b"]}, C, ""),
    ("do_it", "zz", {"type": "integer", "default": 3}, C, ""),
    ("do_it", "zz", {"type": "integer", "minimum": 1, "maximum": 9}, C, ""),
    ("do_it", "zz", {"type": "number"}, P, "amount"),
    ("do_it", "zz", {"type": "integer"}, T, ""),
    ("do_it", "zz", {"type": "string", "maxLength": 10_000}, P, "text"),
    ("do_it", "zz", S, T, ""),
    ("do_it", "zz", {}, T, ""),
    ("do_it", "zz", {"type": "object"}, T, ""),
    ("do_it", "options", {"type": "object"}, P, ""),
    ("do_it", "zz", {"type": "string", "description": "Email address of the person"}, T, "recipient"),
    ("do_it", "zz", {"type": "string", "description": "The path to the file"}, T, "path"),
    ("do_it", "zz", {"type": "string", "description": "Name of the thing"}, T, "name"),
    ("do_it", "zz", {"type": "string", "description": "Text of the message"}, P, "text"),
    ("do_it", "zz", {"type": "string", "description": "Whether it is so"}, C, ""),
    ("do_it", "zz", {"type": "integer", "description": "Maximum of lines"}, C, ""),
    ("do_it", "zz", {"anyOf": [{"type": "string", "format": "email"}, {"type": "null"}]}, T, "recipient"),
    # A description makes a payload a target, and never a target a payload.
    ("do_it", "note", {"type": "string", "description": "The URL to call"}, T, "url"),
    ("do_it", "recipient", {"type": "string", "description": "A harmless formatting option, not a target"}, T, "recipient"),
]  # fmt: skip


@pytest.mark.parametrize(("tool", "name", "schema", "role", "kind"), CASES)
def test_argument_is_what_its_words_and_schema_say(
    tool: str, name: str, schema: dict[str, Any], role: Role, kind: str
) -> None:
    imported, argument = one(tool, name, schema)
    assert argument == Argument(role, kind), imported.because


def test_unknown_argument_is_a_target_and_said_to_be_unsure() -> None:
    imported, argument = one("do_it", "zz", S)
    assert argument.role is T
    assert imported.unsure == ("access", "/zz")


def test_text_with_a_default_is_a_control_where_nothing_else_is_known() -> None:
    imported, argument = one("do_it", "zz", {"type": "string", "default": "x"}, required=False)
    assert argument.role is C
    assert "/zz" in imported.unsure


def test_words_of_one_who_may_lie_make_nothing_milder() -> None:
    schema = {"type": "object", "properties": {"zz": {"type": "string", "description": "Text of the note"}}}
    (mcp,) = import_tools([{"name": "do_it", "inputSchema": schema}])
    assert mcp.action.arguments["/zz"].role is T
    (own,) = import_tools([{"name": "do_it", "parameters": schema}])
    assert own.action.arguments["/zz"].role is P


def test_nested_arguments_have_pointers_of_their_own() -> None:
    address = {"type": "object", "properties": {"address": {"type": "string"}, "zz": {"type": "string"}}}
    schema = {
        "properties": {
            "message": {
                "type": "object",
                "properties": {
                    "toRecipients": {"type": "array", "items": address},
                    "body": {"type": "object", "properties": {"content": {"type": "string"}}},
                    "grid": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
                },
            },
            "a/b": {"type": "string"},
        }
    }
    (imported,) = import_tools([{"name": "send", "parameters": schema}])
    assert {pointer: each.role for pointer, each in imported.action.arguments.items()} == {
        "/message/toRecipients/*/address": T,
        "/message/toRecipients/*/zz": T,
        "/message/body/content": P,
        "/message/grid/*": P,
        "/a~1b": T,
    }
    assert "above it" in imported.because["/message/toRecipients/*/zz"]


def test_number_of_arguments_is_bounded() -> None:
    schema = {"properties": {f"p{index}": S for index in range(1000)}}
    (imported,) = import_tools([{"name": "send", "parameters": schema}])
    assert len(imported.action.arguments) == 400
    assert len(imported.action.params["properties"]) == 1000


@pytest.mark.parametrize(
    ("tool", "name", "schema", "facts"),
    [
        ("send_email", "to", S, "mail"),
        ("send_email", "cc", {"type": "array", "items": S}, "mail"),
        ("share", "zz", {"type": "string", "format": "email"}, "mail"),
        ("send_message", "to", S, None),
        ("fetch", "url", S, "url"),
        ("ping", "host", S, "host"),
        ("read_file", "path", S, "path:read"),
        ("write_file", "path", S, "path:write"),
        (
            "send_email",
            "attachments",
            {"type": "array", "items": {"type": "string", "description": "File"}},
            None,
        ),
        ("run", "command", S, "shell"),
        ("run", "command", {"type": "array", "items": S}, "argv"),
        ("run", "sql", S, "sql"),
        ("list_x", "limit", {"type": "integer"}, "rows"),
        ("list_x", "zz", {"type": "integer"}, None),
    ],
)
def test_facts_are_declared_where_the_words_leave_no_doubt(
    tool: str, name: str, schema: dict[str, Any], facts: str | None
) -> None:
    imported, _ = one(tool, name, schema)
    assert imported.action.params["properties"][name].get("facts") == facts


def test_secrets_never_reach_the_log() -> None:
    imported, _ = one("login", "password", S)
    assert imported.action.params["properties"]["password"]["secret"] is True
