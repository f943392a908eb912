from __future__ import annotations

import json
import sys
from typing import Annotated, Any, Literal

import pytest

from agentguard.core import Access, AgentGuardError, DocumentError, RegistryError, Role
from agentguard.registry import ActionRegistry, import_text, import_tools

PARAMS = {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]}
CHAT = {"type": "function", "function": {"name": "send", "description": "Send", "parameters": PARAMS}}
RESPONSES = {"type": "function", "name": "send", "description": "Send", "parameters": PARAMS, "strict": True}
ANTHROPIC = {"name": "send", "description": "Send", "input_schema": PARAMS}
MCP = {"name": "send", "description": "Send", "inputSchema": PARAMS}


def send(to: str) -> None:
    """Send"""


@pytest.mark.parametrize(
    "document",
    [
        [CHAT],
        (CHAT,),
        CHAT,
        {"tools": [CHAT], "model": "m"},
        [RESPONSES],
        {"functions": [{"name": "send", "description": "Send", "parameters": PARAMS}]},
        [ANTHROPIC],
        {"tools": [MCP]},
        {"jsonrpc": "2.0", "id": 1, "result": {"tools": [MCP]}},
        send,
        [send],
    ],
)
def test_one_tool_in_any_format_is_one_action(document: Any) -> None:
    (imported,) = import_tools(document)
    action = imported.action
    assert (action.reference, action.description, imported.tool) == ("send@1", "Send", "send")
    assert action.access is Access.WRITE
    assert action.arguments["/to"].role is Role.TARGET
    assert action.params["required"] == ["to"]
    ActionRegistry.build([action])


def test_tools_that_the_provider_runs_are_left_out() -> None:
    assert len(import_tools([CHAT, {"type": "web_search"}], format="openai")) == 1


@pytest.mark.parametrize(
    ("document", "format_", "error"),
    [
        ([], "auto", "an empty list is no list of tools that is known here"),
        ({"a": 1, "b`": 2}, "auto", "an object with `a`, `b?` is no list of tools"),
        (3, "auto", "a number is no list of tools"),
        ([CHAT], "opnai", "unknown format `opnai`"),
        ([CHAT], "python", "is no list of tools"),
        ([{"type": "function", "function": {}}], "openai", "tools[0]: a tool has no name"),
        ([{"type": "function", "function": 3}], "openai", "tools[0]: `function` is no object"),
        ([3], "mcp", "tools[0]: is a int, not an object"),
        ([CHAT, CHAT], "auto", "the tool `send` stands twice"),
        ([{"name": str(index)} for index in range(5001)], "mcp", "5001 tools are more than the 5000"),
        ([int], "auto", "the function `int` has no signature"),
    ],
)
def test_what_is_no_list_of_tools_is_refused(document: Any, format_: str, error: str) -> None:
    with pytest.raises(RegistryError) as caught:
        import_tools(document, format=format_)
    assert error in str(caught.value)


def test_hints_of_a_server_only_make_it_stricter() -> None:
    def imported(**annotations: bool) -> Any:
        return import_tools([{"name": "get_note", "inputSchema": {}, "annotations": annotations}])[0].action

    assert imported().access is Access.READ
    assert imported(readOnlyHint=True).access is Access.READ
    assert imported(readOnlyHint=False).access is Access.WRITE
    assert imported(destructiveHint=True).access is Access.WRITE
    assert imported(openWorldHint=True).flow.sink.value == "external"
    liar = {
        "name": "delete_note",
        "inputSchema": {},
        "annotations": {"readOnlyHint": True, "destructiveHint": False},
    }
    assert import_tools([liar])[0].action.access is Access.WRITE


def test_name_that_changes_is_found_again_by_its_tag() -> None:
    (imported,) = import_tools([{**MCP, "name": "sendMail"}])
    assert imported.action.name == "send-mail"
    assert "tool:sendMail" in imported.action.tags
    assert imported.because["name"] == "the tool is called `sendMail`"


def test_version_is_the_one_that_is_asked_for() -> None:
    assert import_tools([MCP], versions={"send": 3})[0].action.reference == "send@3"


def test_description_is_one_short_line() -> None:
    (imported,) = import_tools([{**MCP, "description": "a\n\x1b[31m\u202eb" + "c" * 5000}])
    assert imported.action.description.isprintable()
    assert len(imported.action.description) == 400
    assert import_tools([{**MCP, "description": ""}])[0].action.description == "The tool send"


def test_ten_megabytes_are_read_within_bounds() -> None:
    properties = {f"p{index}": {"type": "string", "description": "x" * 1000} for index in range(100)}
    tools = [{"name": f"get_{index}", "inputSchema": {"properties": properties}} for index in range(80)]
    text = json.dumps({"tools": tools})
    assert len(text) > 8_000_000
    assert len(import_text(text, file="tools.json")) == 80


OPENAPI = """
openapi: 3.0.3
info: {title: t, version: 1.0.0}
paths:
  /users/{userId}:
    parameters:
      - {name: userId, in: path, required: true, schema: {type: string}, description: Id of the user}
    get:
      operationId: getUser
      summary: Get a user
      parameters:
        - {name: Accept, in: header, schema: {type: string}}
        - {name: fields, in: query, content: {application/json: {schema: {type: string}}}}
      responses:
        200: {description: ok}
    delete:
      responses: {204: {description: gone}}
  /messages:
    post:
      operationId: sendMessage
      requestBody: {$ref: '#/components/requestBodies/Message'}
  /items/{id}:
    $ref: '#/components/pathItems/Item'
  /raw/{name}:
    put:
      operationId: putRaw
      parameters:
        - {name: name, in: path, required: true, schema: {type: string}}
        - {$ref: '#/components/parameters/Nowhere'}
      requestBody: {content: {text/plain: {schema: {type: string}}}}
components:
  pathItems:
    Item:
      patch:
        operationId: patchItem
        parameters: [{name: id, in: path, schema: {type: integer}}]
        requestBody: {required: true, content: {application/json: {schema: {$ref: '#/components/schemas/Item'}}}}
  requestBodies:
    Message: {required: true, content: {application/json: {schema: {$ref: '#/components/schemas/Message'}}}}
  schemas:
    Item: {type: object, properties: {id: {type: integer}, title: {type: string, nullable: true}}}
    Message:
      type: object
      required: [to]
      properties:
        to: {type: array, items: {$ref: '#/components/schemas/Address'}}
        text: {type: string}
        parent: {$ref: '#/components/schemas/Message'}
    Address: {type: object, properties: {email: {type: string, format: email}}}
"""


def test_operations_become_actions_with_references_resolved() -> None:
    found = {each.tool: each for each in import_text(OPENAPI, file="api.yaml")}
    assert set(found) == {"getUser", "delete_users_userid", "sendMessage", "patchItem", "putRaw"}
    get = found["getUser"].action
    assert (get.name, get.access, set(get.params["properties"])) == (
        "get-user",
        Access.READ,
        {"userId", "fields"},
    )
    assert get.params["required"] == ["userId"]
    send_ = found["sendMessage"].action
    assert send_.arguments["/to/*/email"].role is Role.TARGET
    assert send_.params["required"] == ["to"]
    assert any("refers to itself" in note for note in found["sendMessage"].notes)
    patch = found["patchItem"]
    assert set(patch.action.params["properties"]) == {"id", "body"}
    assert any("the parameter `body`" in note for note in patch.notes)
    assert "body" in found["putRaw"].action.params["properties"]
    assert any("without a name" in note for note in found["putRaw"].notes)
    assert found["delete_users_userid"].action.access is Access.WRITE


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({"openapi": "2.0", "paths": {}}, "OpenAPI `2.0` is not read"),
        ({"openapi": "3.1.0", "paths": []}, "`paths` is no object"),
        ({"openapi": "3.1.0", "paths": {"/x": 3}}, "paths./x: is no object"),
    ],
)
def test_other_openapi_is_refused(document: Any, error: str) -> None:
    with pytest.raises(RegistryError) as caught:
        import_tools(document)
    assert error in str(caught.value)


SOURCE = '''
from __future__ import annotations
import os; os.abort()

async def send_email(to: list[str], body: str, *, cc: Optional[str] = None, retries: int = 3, **more: str) -> None:
    """Send an email.

    Not the summary.

    Args:
        to: Who gets it.
        body (str): What it says.
    """

def book(when: "datetime.date", kind: Literal["a", "b"], where: str | int, extra: Annotated[str, "Path to the file"]):
    """Book.

    :param str when: The day
    """

def numpy_style(path, ids: Sequence[UUID], table: dict[str, int], x: Foo, y: Union[str, List[int]], z: "[": 1):
    """Do.

    Parameters
    ----------
    path : str
        The file.
    """

def _private(): ...
'''.replace('z: "[": 1', 'z: "["')


def test_functions_of_a_file_are_read_and_not_run() -> None:
    found = {each.tool: each.action for each in import_text(SOURCE, file="tools.py")}
    assert set(found) == {"send_email", "book", "numpy_style"}
    send_ = found["send_email"].params
    assert send_["properties"]["to"]["items"] == {"type": "string"}
    assert send_["properties"]["to"]["description"] == "Who gets it."
    assert send_["properties"]["cc"]["type"] == ["string", "null"]
    assert send_["properties"]["retries"] == {"type": "integer", "default": 3}
    assert send_["required"] == ["to", "body"]
    assert send_["additionalProperties"] is True
    assert found["send_email"].description == "Send an email."
    book = found["book"].params["properties"]
    assert book["when"] == {"type": "string", "format": "date", "description": "The day"}
    assert book["kind"] == {"enum": ["a", "b"]}
    assert book["where"] == {"type": ["string", "integer"]}
    assert book["extra"]["description"] == "Path to the file"
    other = found["numpy_style"].params["properties"]
    assert other["path"]["description"] == "The file."
    assert other["ids"]["items"]["format"] == "uuid"
    assert other["table"]["additionalProperties"] == {"type": "integer"}
    assert other["x"] == {}
    assert len(other["y"]["anyOf"]) == 2
    assert other["z"] == {}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("def (", "x.py:1: is no Python"),
        ("a = 1", "x.py: has no public function"),
        ("\0", "x.py: is no Python"),
    ],
)
def test_source_without_functions_is_refused(text: str, error: str) -> None:
    with pytest.raises(RegistryError) as caught:
        import_text(text, file="x.py")
    assert str(caught.value).startswith(error)


class Mailer:
    def send(self, to: Annotated[str, "x"], kind: Literal["a"] = "a", *rest: int, **more: int) -> None:
        """Send"""


def test_live_functions_are_read_from_their_signatures() -> None:
    params = import_tools([Mailer().send])[0].action.params
    assert set(params["properties"]) == {"to", "kind"}
    assert params["properties"]["kind"]["default"] == "a"
    assert params["additionalProperties"] is True
    (nested,) = import_tools(lambda deep: deep)
    assert nested.action.name == "lambda"


@pytest.mark.parametrize(
    ("text", "file", "error"),
    [
        ("{", "a.json", "a.json:1"),
        ("[1, 2", "a.json", "a.json:1"),
        ('{"name": 1, "name": 2}', "a.json", "duplicate key `name`"),
        ("a: [", "a.yaml", "a.yaml"),
        ("a: &x 1\nb: *x", "a.yaml", "is an alias"),
        ("", "a.yaml", "a.yaml: nothing is no list of tools"),
        ("[" * 100_000, "a.json", "a.json"),
    ],
)
def test_file_that_cannot_be_read_is_refused_by_name(text: str, file: str, error: str) -> None:
    with pytest.raises(AgentGuardError) as caught:
        import_text(text, file=file)
    assert error in str(caught.value)
    assert isinstance(caught.value, DocumentError | RegistryError)


def test_deep_annotation_ends() -> None:
    annotation = "list[" * 50 + "str" + "]" * 50
    (imported,) = import_text(f"def get(a: {annotation}): ...", file="x.py")
    assert sys.getsizeof(imported) > 0
    assert str(imported.action.params).count("items") <= 12


def test_times_are_told_by_their_format_and_not_held_to_it() -> None:
    when = {"type": "string", "format": "date-time", "default": {"format": "time"}, "enum": ["format"]}
    schema = {"properties": {"zz": {**when, "enum": ["10:00"]}, "list": {"anyOf": [{"format": "time"}]}}}
    (imported,) = import_tools([{**MCP, "inputSchema": schema}])
    assert imported.action.arguments["/zz"].role is Role.CONTROL
    assert "format" not in str(imported.action.params)
    schema = {"properties": {"zz": {"type": "string", "format": "date-time"}}}
    (imported,) = import_tools([{**MCP, "inputSchema": schema}])
    assert imported.action.arguments["/zz"].kind == "date"
    assert imported.action.params["properties"] == {"zz": {"type": "string"}}
