"""Batches: the calls in them are decided when they are handed in, reserved when they are begun, booked by their results.

What is known of them is kept in this process. After a restart a batch stays booked at what was reserved for it, and a
file that was handed in before has to be handed in again.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.gateway._quote import quote_call
from agentguard.gateway._reading import read_entry
from agentguard.gateway._refusal import RefusalError
from agentguard.llm import CHAT, EMBED, LlmCall
from agentguard.spend import Admission, Api, Call, Report, read_report

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentguard.core import Usage
    from agentguard.gateway._door import Door
    from agentguard.gateway._reading import Reading

_MOST_KNOWN = 10_000
_MOST_ENTRIES = 50_000
_MOST_KINDS = 100
_OVER = frozenset(("completed", "expired", "cancelled", "failed"))


class Plan(msgspec.Struct, frozen=True):
    """What a batch is to do: `kinds` are its calls that differ in what is decided, `calls` what each model may cost."""

    kinds: list[LlmCall]
    entries: list[tuple[LlmCall, int]]

    def quotes(self, provider: str) -> list[Call]:
        """Return what the calls may cost, one quote for each model."""
        found: dict[tuple[str, Api], Call] = {}
        for call, size in self.entries:
            one = quote_call(call, call.body or {}, provider, size)
            one = msgspec.structs.replace(
                one,
                tier="batch",
                choices=1,
                max_output_tokens=(one.max_output_tokens or 0) * one.choices or None,
            )
            known = found.get((one.model, one.api))
            found[one.model, one.api] = one if known is None else _together(known, one)
        return list(found.values())


class Running(msgspec.Struct):
    """A batch that was begun, and what is reserved for each of its models."""

    admissions: list[Admission]


class Batches:
    """What was handed in, and what runs. Used on one event loop."""

    def __init__(self) -> None:
        self._files: OrderedDict[tuple[str, str], Plan] = OrderedDict()
        self._running: OrderedDict[str, Running] = OrderedDict()
        self._outputs: OrderedDict[str, str] = OrderedDict()

    def handed_in(self, reading: Reading, door: Door) -> Plan | None:
        """Return what a request hands in to be done later; None where it hands in nothing.

        Raises:
            RefusalError: 400, it cannot be read.
        """
        if door.rest == "messages/batches":
            requests = (reading.sent or {}).get("requests")
            entries = requests if type(requests) is list else []
            return _plan(("/v1/messages", each.get("params")) for each in map(_object, entries))
        if door.rest != "files" or (reading.sent or {}).get("purpose") != "batch":
            return None
        files = [part.content for part in reading.form or () if part.filename is not None]
        if len(files) != 1:
            raise _invalid("a batch is one file")
        lines = [line for line in files[0].splitlines() if line.strip()]
        return _plan((str(each.get("url")), each.get("body")) for each in map(_line, lines))

    def begun(self, reading: Reading, door: Door, principal: str) -> Plan | None:
        """Return what a request begins; None where it begins nothing.

        Raises:
            RefusalError: 403, nobody has seen what is in its file.
        """
        if door.rest != "batches":
            return None
        name = str((reading.sent or {}).get("input_file_id"))
        plan = self._files.get((principal, name))
        if plan is None:
            raise RefusalError(
                403,
                "batch_unknown",
                f"nobody here has seen what is in the file `{name[:100]}`: hand it in through the gateway",
            )
        return plan

    def keep(self, principal: str, plan: Plan, body: Any) -> None:
        """Remember a file that was taken."""
        if type(body) is dict and type(body.get("id")) is str:
            _put(self._files, (principal, body["id"]), plan)

    def start(self, admissions: list[Admission], body: Any) -> None:
        """Remember a batch that was begun."""
        if admissions and type(body) is dict and type(body.get("id")) is str:
            _put(self._running, body["id"], Running(admissions))

    def ended(self, door: Door, content: bytes) -> list[tuple[Admission, Report | None]]:
        """Return what is to be booked after an answer about a batch; no report releases, for nothing was done."""
        parts = door.rest.split("/")
        if door.rest.startswith("batches/"):
            return self._told(_object_of(content))
        if door.rest.startswith("messages/batches/") and parts[-1] == "results":
            return self._booked(parts[2], content)
        if len(parts) == 3 and parts[0] == "files" and parts[1] in self._outputs:  # noqa: PLR2004 - files/ID/content
            return self._booked(self._outputs[parts[1]], content)
        return []

    def _told(self, batch: dict[str, Any]) -> list[tuple[Admission, Report | None]]:
        name, output = str(batch.get("id")), batch.get("output_file_id")
        if name in self._running and batch.get("status") in _OVER:
            if type(output) is str:
                _put(self._outputs, output, name)
            elif _object(batch.get("request_counts")).get("completed") == 0:
                return [(each, None) for each in self._running.pop(name).admissions]
        return []

    def _booked(self, name: str, content: bytes) -> list[tuple[Admission, Report | None]]:
        running = self._running.pop(name, None)
        if running is None:
            return []
        used: dict[str, list[Report]] = {}
        for line in content.splitlines():
            for report in _reports(_object_of(line)):
                used.setdefault(_family(report.model, running), []).append(report)
        return [
            (each, _sum(used[each.model])) for each in running.admissions if used.get(each.model) is not None
        ]


def _plan(entries: Iterable[tuple[str, Any]]) -> Plan:
    kinds: dict[bytes, LlmCall] = {}
    found: list[tuple[LlmCall, int]] = []
    for path, body in entries:
        if len(found) >= _MOST_ENTRIES:
            raise _invalid(f"a batch has at most {_MOST_ENTRIES} requests")
        content = msgspec.json.encode(body)
        call = read_entry(path, content)
        if call.body is None or call.action not in (CHAT, EMBED):
            raise _invalid("a request of the batch is none of a model's text")
        if call.action == CHAT and not any(
            type(call.params.get(name)) is int for name in ("max_output_tokens",)
        ):
            raise _invalid("each request of a batch needs its output limit, for nobody can write one later")
        told = {name: value for name, value in call.params.items() if name not in ("input", "input_bytes")}
        kinds.setdefault(msgspec.json.encode([call.action, told], order="deterministic"), call)
        if len(kinds) > _MOST_KINDS:
            raise _invalid(f"the requests of a batch differ in more than {_MOST_KINDS} ways")
        found.append((call, len(content)))
    if not found:
        raise _invalid("the batch is empty")
    return Plan(list(kinds.values()), found)


def _together(one: Call, other: Call) -> Call:
    output = (one.max_output_tokens or 0) + (other.max_output_tokens or 0)
    return msgspec.structs.replace(
        one,
        input_bytes=one.input_bytes + other.input_bytes,
        max_output_tokens=output or None,
        extra_input_tokens=one.extra_input_tokens + other.extra_input_tokens,
        unseen_input=one.unseen_input or other.unseen_input,
        writes_cache=one.writes_cache or other.writes_cache,
        has_audio=one.has_audio or other.has_audio,
        prompt=b"",
    )


def _reports(line: dict[str, Any]) -> list[Report]:
    """Return the report in a line of results: OpenAI's `response.body`, Anthropic's `result.message`."""
    body = _object(_object(line.get("response")).get("body"))
    message = _object(_object(line.get("result")).get("message"))
    usage = _object(body.get("usage"))
    api = Api.MESSAGES if message else Api.RESPONSES if "input_tokens" in usage else Api.CHAT
    report = read_report(api, message or body)
    return [] if report is None else [msgspec.structs.replace(report, tier="batch")]


def _family(model: str, running: Running) -> str:
    """Return the model that was asked for; providers answer with a dated name of it."""
    asked = [each.model for each in running.admissions]
    return next((each for each in sorted(asked, key=len, reverse=True) if model.startswith(each)), asked[0])


def _sum(reports: list[Report]) -> Report:
    total: dict[str, int] = {}
    for report in reports:
        for name, value in msgspec.structs.asdict(report.usage).items():
            total[name] = total.get(name, 0) + value
    usage: Usage = type(reports[0].usage)(**total)
    return Report(usage, reports[0].model, "batch")


def _put(into: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    into[key] = value
    if len(into) > _MOST_KNOWN:
        into.popitem(last=False)


def _object(value: Any) -> dict[str, Any]:
    return value if type(value) is dict else {}


def _object_of(content: bytes) -> dict[str, Any]:
    try:
        return _object(msgspec.json.decode(content))
    except (ValueError, RecursionError):
        return {}


def _line(line: bytes) -> dict[str, Any]:
    found = _object_of(line)
    if not found:
        raise _invalid("a line of the batch is no JSON object")
    return found


def _invalid(why: str) -> RefusalError:
    return RefusalError(400, "batch_invalid", why)
