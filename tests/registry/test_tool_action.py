from __future__ import annotations

from typing import Any

import pytest

from agentguard.core import Access, Action, Risk, Sensitivity, Sink
from agentguard.registry import import_tools
from agentguard.registry._tool import Tool
from agentguard.registry._tool_action import read_access

R, W = Access.READ, Access.WRITE


def act(name: str, description: str = "", /, **properties: Any) -> Action:
    schema = {"type": "object", "properties": {key: {"type": kind} for key, kind in properties.items()}}
    return import_tools([{"name": name, "description": description, "parameters": schema}])[0].action


@pytest.mark.parametrize(
    ("name", "description", "access"),
    [
        ("get_user", "", R),
        ("listOrders", "", R),
        ("order_list", "", W),
        ("users.list", "", R),
        ("email_search", "", R),
        ("get-sent-emails", "", R),
        ("send_email", "", W),
        ("email_send", "", W),
        ("sendmail", "", W),
        ("comment", "", W),
        ("order_pizza", "", W),
        ("get_or_create_user", "", W),
        ("find_and_replace", "", W),
        ("list_and_delete_all", "", W),
        ("check_in", "", W),
        ("frobnicate", "", W),
        ("", "", W),
        ("zq1", "Returns the list of users", R),
        ("zq1", "Returns the items of an order", W),
        ("zq1", "Deletes a user", W),
        ("zq1", "Use this tool to search for orders", R),
        ("orders", "Shows what was ordered", R),
        ("orders", "Places an order", W),
        ("orders", "", W),
        ("order", "Shows what was ordered", W),
        ("mv", "", W),
        ("zq1", "A thing", W),
        ("zq1", "A ticket with its conversation.", R),
        ("zq1", "Tickets, newest first", R),
        ("zq1", "Deals of the pipeline", R),
        ("zq1", "The ticket that is deleted now", W),
        ("zq1", "Zaps a thing of the pipeline", W),
        ("zq1", "Review a product", W),
        ("zq1", "Check in online", W),
        # What a description says makes an action stricter, never milder.
        ("delete_account", "This is safe. It only reads and returns data; read-only. Lists nothing.", W),
        ("get_report", "Gets the report and sends it to the given address", W),
        ("get_report", "Fetch it. Deletes the original.", W),
        ("get_report", "Record of a person. Log of what was done.", R),
        ("set_outage_estimate", "Set when power is back", W),
        ("set_preview", "", W),
        # What is called by the thing that it gives only looks; a verb in front says otherwise.
        ("mailbox", "Mails received", R),
        ("outage_log", "Current outages, one a line", R),
        ("staff_directory", "Export of the staff directory", R),
        ("outage_log", "", W),
        ("log_outage", "Log of an outage", W),
        ("cache_wipe", "Wipes the cache", W),
        ("frobnicator", "Frobnicates a thing", W),
        ("get_messages", "Get messages sent to or received by a user", R),
    ],
)
def test_names_go_before_descriptions_and_writes_before_reads(
    name: str, description: str, access: Access
) -> None:
    assert read_access(Tool(name, description)).access is access


@pytest.mark.parametrize(
    ("method", "name", "access"),
    [
        ("GET", "users", R),
        ("HEAD", "users", R),
        ("GET", "deleteUser", W),
        ("POST", "users", W),
        ("POST", "searchUsers", R),
        ("PUT", "getUser", W),
        ("PATCH", "users", W),
        ("DELETE", "users", W),
    ],
)
def test_method_counts_for_an_operation(method: str, name: str, access: Access) -> None:
    reading = read_access(Tool(name, "", method=method))
    assert reading.access in (access, W)
    assert (reading.access is access) or (method == "PUT")


@pytest.mark.parametrize(
    ("tool", "access"),
    [
        (Tool("get_x", "", changes=True), W),
        (Tool("get_x", "", destructive=True), W),
        (Tool("zq", "Fetches users", vouched=False), W),
        (Tool("zq", "Fetches users", vouched=True), R),
    ],
)
def test_hints_only_make_it_stricter(tool: Tool, access: Access) -> None:
    assert read_access(tool).access is access


@pytest.mark.parametrize(
    ("action", "risk"),
    [
        (act("get_weather", city="string"), Risk.LOW),
        (act("read_inbox"), Risk.MEDIUM),
        (act("get_password", site="string"), Risk.HIGH),
        (act("create_task", title="string"), Risk.MEDIUM),
        (act("delete_task", id="string"), Risk.HIGH),
        (act("delete_database", name="string"), Risk.CRITICAL),
        (act("transfer_funds", account="string", amount="number"), Risk.CRITICAL),
        (act("send_money", recipient="string", amount="number"), Risk.CRITICAL),
        (act("run_shell", command="string"), Risk.CRITICAL),
        (act("update_password", password="string"), Risk.CRITICAL),
        (act("set_user_role", user="string", role="string"), Risk.CRITICAL),
        (act("frobnicate", x="string"), Risk.HIGH),
        (act("tip", text="string"), Risk.HIGH),
        (act("check_in", booking_id="string"), Risk.MEDIUM),
    ],
)
def test_risk_grows_with_verb_and_object(action: Action, risk: Risk) -> None:
    assert action.risk is risk, action.name


def test_destructive_hint_and_delete_method_raise_the_risk() -> None:
    mcp = {"name": "add_x", "inputSchema": {}, "annotations": {"destructiveHint": True}}
    assert import_tools([mcp])[0].action.risk is Risk.HIGH
    document = {"openapi": "3.1.0", "paths": {"/x/{id}": {"delete": {"operationId": "x"}}}}
    assert import_tools(document)[0].action.risk is Risk.HIGH


@pytest.mark.parametrize(
    ("action", "sink"),
    [
        (act("get_user", id="string"), None),
        (act("fetch_page", url="string"), Sink.EXTERNAL),
        (act("send_email", to="string"), Sink.EXTERNAL),
        (act("create_event", attendees="array"), Sink.EXTERNAL),
        (act("update_task", task_id="string"), Sink.INTERNAL),
        (act("run_shell", command="string"), Sink.EXTERNAL),
        (act("frobnicate", zz="string"), Sink.EXTERNAL),
    ],
)
def test_sink_is_external_where_something_goes_out(action: Action, sink: Sink | None) -> None:
    assert action.flow is not None
    assert action.flow.sink is sink


@pytest.mark.parametrize(
    ("action", "level", "categories"),
    [
        (act("get_weather"), Sensitivity.PUBLIC, ()),
        (act("get_thing"), Sensitivity.INTERNAL, ()),
        (act("read_inbox"), Sensitivity.RESTRICTED, ("personal",)),
        (act("get_salary", employee="string"), Sensitivity.RESTRICTED, ("financial",)),
        (act("get_lab_results"), Sensitivity.RESTRICTED, ("health",)),
        (act("get_thing", "The password of a user"), Sensitivity.CRITICAL, ("credential", "personal")),
        (act("send_email", to="string"), Sensitivity.INTERNAL, ()),
    ],
)
def test_results_are_untrusted_and_as_private_as_their_words(
    action: Action, level: Sensitivity, categories: tuple[str, ...]
) -> None:
    assert action.flow is not None
    assert action.flow.source is not None
    assert action.flow.source.integrity.value == "untrusted"
    assert action.flow.source.confidentiality is level
    assert action.flow.source.categories == categories
