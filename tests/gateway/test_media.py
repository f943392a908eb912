"""Images, sound, files and batches through the gateway, by the providers' own SDKs."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest

import gateway_world
from agentguard.core import AttemptState, Decision, Effect, Obligation, Request, Unit
from llm_upstream import KEY, Reply
from llm_upstream_store import MP3, PNG, SPOKEN, STREAM
from scripted_decider import ScriptedDecider, decided

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway_world import GatewayWorld
    from llm_upstream import Upstream

USD = "budgets:\n  - {id: day, scope: agent, window: daily, unit: usd, limit: 5}\n"


@pytest.fixture
def priced(tmp_path: Path, upstream: Upstream) -> Iterator[GatewayWorld]:
    upstream.stored.clear()
    with gateway_world.running(tmp_path, upstream, budgets=USD) as running:
        yield running


def batch_file(*models: str, limit: int | None = 60) -> io.BytesIO:
    most = {} if limit is None else {"max_tokens": limit}
    lines = [
        {"custom_id": f"n-{number}", "method": "POST", "url": "/v1/chat/completions",
         "body": {"model": model, "messages": [{"role": "user", "content": "Hello"}], **most}}
        for number, model in enumerate(models)
    ]  # fmt: skip
    file = io.BytesIO("\n".join(map(json.dumps, lines)).encode())
    file.name = "batch.jsonl"
    return file


def test_images_are_decided_sent_and_booked_by_their_report(priced: GatewayWorld, upstream: Upstream) -> None:
    answer = priced.openai().images.generate(model="gpt-image-1", prompt="A pen", n=1)
    assert answer.data is not None
    assert answer.data[0].b64_json == PNG
    (request,) = priced.decider.requests
    assert (request.action, request.resource) == ("llm.media", "llm/openai/gpt-image-1")
    assert request.params["kind"] == "images/generations"
    (entry,) = priced.entries()
    # 12 tokens of text at 5 USD and 272 of image at 40 USD a million.
    assert (entry.amounts[Unit.USD], entry.estimated) == (10_940, False)
    assert entry.reserved[Unit.USD] >= 9_000 * 40
    assert upstream.calls[0].key == KEY


def test_images_that_come_as_events_pass_byte_for_byte_and_are_booked(priced: GatewayWorld) -> None:
    body = {"model": "gpt-image-1", "prompt": "A pen", "stream": True, "partial_images": 1}
    reply = priced.ask("/openai/v1/images/generations", body)
    assert (reply.status, reply.body) == (200, STREAM)
    (entry,) = priced.entries()
    assert (entry.amounts[Unit.USD], entry.estimated) == (10_940, False)
    assert PNG in str(priced.decider.observations[0].result)


@pytest.mark.parametrize(("stream", "status"), [(False, 200), (True, 502)])
def test_obligation_on_media_is_carried_out_or_nothing_passes(
    tmp_path: Path, upstream: Upstream, *, stream: bool, status: int
) -> None:
    masked = ScriptedDecider(
        answer=lambda request: decided(request, obligations=(Obligation("max_bytes", 20),))
    )
    with gateway_world.running(tmp_path, upstream, scripted=masked) as world:
        body = {"model": "gpt-image-1", "prompt": "A pen", "stream": stream}
        reply = world.ask("/openai/v1/images/generations", body)
        assert reply.status in (status, 502)
        assert PNG.encode() not in reply.body
        speech = {"model": "gpt-4o-mini-tts", "voice": "alloy", "input": "Hello"}
        assert world.ask("/openai/v1/audio/speech", speech).status == 502


def test_form_is_written_anew_and_its_file_arrives_whole(priced: GatewayWorld, upstream: Upstream) -> None:
    image = io.BytesIO(b"\x89PNG\r\n--not-a-boundary\r\n" * 50)
    image.name = "a.png"
    priced.openai().images.edit(model="gpt-image-1", prompt="Greener", image=image)
    (call,) = upstream.calls
    assert image.getvalue() in call.body
    assert b"agentguard-" in call.headers["content-type"].encode()
    assert priced.decider.requests[0].params["model"] == "gpt-image-1"


def test_transcription_is_seen_by_the_session_and_booked(priced: GatewayWorld) -> None:
    sound = io.BytesIO(MP3 * 100)
    sound.name = "a.mp3"
    client = priced.openai()
    said = client.audio.transcriptions.create(model="gpt-4o-transcribe", file=sound)
    assert said.text == SPOKEN["text"]
    assert SPOKEN["text"] in str(priced.decider.observations[0].result)
    (entry,) = priced.entries()
    assert (entry.usage.input_audio_tokens, entry.usage.output_tokens) == (14, 7)
    sound.seek(0)
    text = client.audio.transcriptions.create(model="gpt-4o-transcribe", file=sound, response_format="text")
    assert str(text).strip() == SPOKEN["text"]
    assert priced.entries()[1].estimated


def test_sound_passes_unchanged_and_without_a_report_costs_what_was_reserved(priced: GatewayWorld) -> None:
    answer = priced.openai().audio.speech.create(model="gpt-4o-mini-tts", voice="alloy", input="Hello")
    assert answer.content == MP3
    (entry,) = priced.entries()
    assert (entry.state, entry.estimated) == (AttemptState.SETTLED, True)
    assert entry.amounts == entry.reserved


def test_media_of_a_model_without_a_price_is_denied_where_a_budget_in_usd_holds(priced: GatewayWorld) -> None:
    import openai

    with pytest.raises(openai.RateLimitError) as denied:
        priced.openai().images.generate(model="unheard-of", prompt="A pen")
    assert denied.value.code == "price_unknown"


@pytest.mark.parametrize(
    "spoilt",
    [
        b"--b\r\nContent-Disposition: form-data; name=model\r\n\r\nx\r\n--b--\r\n",
        b'--b\r\nContent-Disposition: form-data; name="n"\r\n\r\nx\r\n--b\r\nContent-Disposition: form-data; name="N"\r\n\r\n--b--',
        b'--b\r\nContent-Disposition: form-data; name="Model"\r\n\r\ny\r\n--b--\r\n',
        b'preamble\r\n--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nx\r\n--b--\r\n',
        b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nx\r\n--b--\r\nmore',
        b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nx',
        b'--b\r\nContent-Disposition: form-data; name="model"\r\nX-Odd: 1\r\n\r\nx\r\n--b--\r\n',
        b'--b\r\nContent-Disposition: form-data; name="model"\r\nContent-Transfer-Encoding: base64\r\n\r\nx\r\n--b--',
        b"--b\r\nno header\r\n--b--\r\n",
        b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n\xff\r\n--b--\r\n',
    ],
)
def test_form_that_could_be_read_in_two_ways_is_refused(
    priced: GatewayWorld, upstream: Upstream, spoilt: bytes
) -> None:
    headers = {"content-type": "multipart/form-data; boundary=b"}
    reply = priced.world.ask("POST", "/openai/v1/images/edits", spoilt, gateway_world.TOKEN, headers)
    assert (reply.status, reply.code in ("form_invalid", "json_invalid")) == (400, True)
    assert upstream.calls == []


def test_files_pass_and_what_is_in_them_is_seen(priced: GatewayWorld, upstream: Upstream) -> None:
    client = priced.openai()
    notes = io.BytesIO(b"the secret plan")
    notes.name = "notes.txt"
    kept = client.files.create(file=notes, purpose="user_data")
    assert client.files.content(kept.id).read() == b"the secret plan"
    assert client.files.retrieve(kept.id).id == kept.id
    assert {request.action for request in priced.decider.requests} == {"llm.api"}
    assert any("the secret plan" in str(seen.result) for seen in priced.decider.observations)
    assert priced.entries() == []
    assert {call.key for call in upstream.calls} == {KEY}


def test_batch_is_decided_when_handed_in_reserved_when_begun_and_booked_by_its_results(
    priced: GatewayWorld,
) -> None:
    client = priced.openai()
    file = client.files.create(file=batch_file("gpt-4o", "gpt-4o", "gpt-4o-mini"), purpose="batch")
    assert [(each.action, each.resource) for each in priced.decider.requests] == [
        ("llm.api", "llm/openai/api"), ("llm.chat", "llm/openai/gpt-4o"), ("llm.chat", "llm/openai/gpt-4o-mini"),
    ]  # fmt: skip
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    assert [(entry.model, entry.state) for entry in priced.entries()] == [
        ("gpt-4o", AttemptState.OPEN), ("gpt-4o-mini", AttemptState.OPEN),
    ]  # fmt: skip
    done = client.batches.retrieve(batch.id)
    assert done.output_file_id is not None
    client.files.content(done.output_file_id).read()
    booked = priced.entries()
    assert [entry.state for entry in booked] == [AttemptState.SETTLED] * 2
    # Two calls of 20 and 50 tokens at half of 2.50 and 10 USD a million.
    assert booked[0].amounts[Unit.USD] == 550
    assert (booked[0].usage.input_tokens, booked[0].usage.output_tokens) == (40, 100)


def test_batch_with_a_call_that_is_denied_is_not_handed_in(tmp_path: Path, upstream: Upstream) -> None:
    import openai

    def at_night(request: Request) -> Decision:
        changes = {"effect": Effect.DENY, "reason": "not at night"} if request.action == "llm.chat" else {}
        return decided(request, **changes)

    decider = ScriptedDecider(answer=at_night)
    with gateway_world.running(tmp_path, upstream, scripted=decider) as world:
        with pytest.raises(openai.PermissionDeniedError, match="not at night"):
            world.openai().files.create(file=batch_file("gpt-4o"), purpose="batch")
        assert upstream.calls == []


@pytest.mark.parametrize(
    ("file", "why"),
    [
        (batch_file("gpt-4o", limit=None), "needs its output limit"),
        (io.BytesIO(b"not json"), "no JSON object"),
        (io.BytesIO(b""), "is empty"),
        (io.BytesIO(b'{"url": "/v1/files", "body": {}}'), "none of a model's text"),
    ],
)
def test_batch_that_cannot_be_bounded_or_read_is_refused(
    priced: GatewayWorld, upstream: Upstream, file: io.BytesIO, why: str
) -> None:
    import openai

    file.name = "batch.jsonl"
    file.seek(0)
    with pytest.raises(openai.BadRequestError, match=why):
        priced.openai().files.create(file=file, purpose="batch")
    assert upstream.calls == []


def test_tool_that_the_provider_would_run_in_a_batch_is_decided(priced: GatewayWorld) -> None:
    body = {"model": "gpt-4o", "input": "Hi", "max_output_tokens": 50, "tools": [{"type": "web_search"}]}
    line = {"custom_id": "a", "method": "POST", "url": "/v1/responses", "body": body}
    file = io.BytesIO(json.dumps(line).encode())
    file.name = "batch.jsonl"
    priced.openai().files.create(file=file, purpose="batch")
    assert [request.action for request in priced.decider.requests] == [
        "llm.api",
        "llm.chat",
        "llm.hosted-tool",
    ]
    assert priced.decider.requests[2].params["tool"] == "web_search"


def test_batch_that_did_nothing_is_given_back(priced: GatewayWorld, upstream: Upstream) -> None:
    client = priced.openai()
    file = client.files.create(file=batch_file("gpt-4o"), purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    upstream.stored["failed"] = b"yes"
    assert client.batches.retrieve(batch.id).status == "failed"
    assert priced.states() == [AttemptState.RELEASED]


def test_batch_that_the_provider_refuses_is_given_back(priced: GatewayWorld, upstream: Upstream) -> None:
    import openai

    client = priced.openai()
    file = client.files.create(file=batch_file("gpt-4o"), purpose="batch")
    upstream.script(Reply(status=400, error="invalid_request_error"))
    with pytest.raises(openai.BadRequestError):
        client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    assert priced.states() == [AttemptState.RELEASED]


def test_batch_of_a_file_that_nobody_saw_is_refused(priced: GatewayWorld, upstream: Upstream) -> None:
    import openai

    with pytest.raises(openai.PermissionDeniedError) as refused:
        priced.openai().batches.create(
            input_file_id="file-else", endpoint="/v1/chat/completions", completion_window="24h"
        )
    assert refused.value.code == "batch_unknown"
    assert upstream.calls == []


def test_batch_without_room_in_the_budget_is_refused_and_holds_nothing(priced: GatewayWorld) -> None:
    import openai

    client = priced.openai()
    file = client.files.create(
        file=batch_file("gpt-4o-mini", *["gpt-4o"] * 9, limit=200_000), purpose="batch"
    )
    with pytest.raises(openai.RateLimitError) as refused:
        client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    assert refused.value.code == "budget_exceeded"
    assert set(priced.states()) == {AttemptState.RELEASED}


def test_anthropic_batch_is_decided_reserved_and_booked(priced: GatewayWorld) -> None:
    client = priced.anthropic()
    params: Any = {
        "model": "claude-sonnet-4-5",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": "Hi"}],
    }
    batch = client.messages.batches.create(requests=[{"custom_id": "a", "params": params}])
    assert [request.action for request in priced.decider.requests] == ["llm.api", "llm.chat"]
    assert priced.states() == [AttemptState.OPEN]
    reply = priced.ask(f"/anthropic/v1/messages/batches/{batch.id}/results", None, method="GET")
    assert reply.status == 200
    (entry,) = priced.entries()
    # 20 tokens each at half of 3 and 15 USD a million.
    assert (entry.state, entry.amounts[Unit.USD]) == (AttemptState.SETTLED, 180)


@pytest.mark.parametrize(
    ("method", "path", "reason"),
    [
        ("GET", "realtime?model=gpt-realtime", "no realtime sessions: nothing that is said"),
        ("POST", "realtime/client_secrets", "no realtime sessions: nothing that is said"),
        ("POST", "uploads", "no uploads in parts"),
        ("POST", "uploads/u-1/parts", "send it to `files`"),
        ("POST", "fine_tuning/jobs", "no fine-tuning"),
        ("POST", "threads/runs", "use `responses`"),
    ],
)
def test_what_cannot_be_guarded_is_refused_with_the_reason(
    priced: GatewayWorld, method: str, path: str, reason: str
) -> None:
    reply = priced.ask(f"/openai/v1/{path}", None, method=method)
    assert (reply.status, reply.code) == (404, "route_unknown")
    assert reason in reply.json()["error"]["message"]
