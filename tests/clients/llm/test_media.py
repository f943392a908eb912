"""Images and sound by guarded clients: decided by their model, held to budgets, booked by the provider's report."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Any

import openai
import pytest

from agentguard.clients.llm._media import form_of
from agentguard.core import Effect, Obligation, SpendFilter, Unit
from llm_upstream_store import MP3, PNG, SPOKEN
from scripted_decider import decided
from spending import desk

if TYPE_CHECKING:
    from pathlib import Path

    from llm_clients import World

USD = "budgets:\n  - {id: day, scope: agent, window: daily, unit: usd, limit: 5}\n"
PROVIDER = {"127.0.0.1": "openai"}


def spending(world: World, folder: Path, text: str = USD) -> tuple[Any, Any]:
    place = desk(folder, text)
    return place, world.openai(world.guard(budgets=place.keeper, hosts=PROVIDER))


def entries(place: Any) -> list[Any]:
    return list(place.ledger.entries(SpendFilter()))


def file(name: str, content: bytes = MP3 * 100) -> io.BytesIO:
    made = io.BytesIO(content)
    made.name = name
    return made


def test_images_are_booked_by_their_report(world: World, tmp_path: Path) -> None:
    place, client = spending(world, tmp_path)
    assert client.images.generate(model="gpt-image-1", prompt="A pen", n=1).data[0].b64_json == PNG
    assert world.asked() == [("llm.media", "llm/openai/gpt-image-1")]
    (entry,) = entries(place)
    # 12 tokens of text at 5 USD and 272 of image at 40 USD a million.
    assert (entry.amounts[Unit.USD], entry.estimated) == (10_940, False)
    assert entry.reserved[Unit.USD] >= 9_000 * 40
    assert PNG in str(world.decider.observations[0].result)


def test_images_beyond_the_budget_are_not_sent(world: World, tmp_path: Path) -> None:
    place, client = spending(world, tmp_path)
    with pytest.raises(openai.RateLimitError) as caught:
        client.images.generate(model="gpt-image-1", prompt="A pen", n=100)
    assert caught.value.code == "budget_exceeded"
    assert (world.upstream.calls, entries(place)) == ([], [])


def test_a_form_is_decided_by_its_model_and_its_file_arrives_whole(world: World, tmp_path: Path) -> None:
    place, client = spending(world, tmp_path)
    image = b"\x89PNG\r\n--not-a-boundary\r\n" * 50
    client.images.edit(model="gpt-image-1", prompt="Greener", image=file("a.png", image))
    assert world.asked() == [("llm.media", "llm/openai/gpt-image-1")]
    assert world.decider.requests[0].params["input"] == [{"role": "user", "text": "Greener"}]
    assert image in world.upstream.calls[0].body
    (entry,) = entries(place)
    assert entry.reserved[Unit.TOKENS] >= 18_000


def test_sound_is_reserved_by_its_size_and_what_was_said_is_seen(world: World, tmp_path: Path) -> None:
    place, client = spending(world, tmp_path)
    sound = b"\0" * 320_000
    said = client.audio.transcriptions.create(model="gpt-4o-transcribe", file=file("a.mp3", sound))
    assert said.text == SPOKEN["text"]
    assert str(SPOKEN["text"]) in str(world.decider.observations[0].result)
    (entry,) = entries(place)
    assert (entry.usage.input_audio_tokens, entry.usage.output_tokens) == (14, 7)
    assert 26_384 <= entry.reserved[Unit.TOKENS] < 40_000


def test_async_client_reads_a_form_too(world: World, tmp_path: Path) -> None:
    place = desk(tmp_path, USD)
    guard = world.guard(budgets=place.keeper, hosts=PROVIDER)

    async def ask() -> None:
        async with world.async_openai(guard) as client:
            await client.audio.transcriptions.create(model="gpt-4o-transcribe", file=file("a.mp3"))

    asyncio.run(ask())
    assert world.asked() == [("llm.media", "llm/openai/gpt-4o-transcribe")]
    assert entries(place)[0].usage.input_audio_tokens == 14


@pytest.mark.parametrize("is_read_piece_by_piece", [False, True])
def test_sound_without_a_report_costs_what_was_reserved(
    world: World, tmp_path: Path, *, is_read_piece_by_piece: bool
) -> None:
    place, client = spending(world, tmp_path)
    about = {"model": "gpt-4o-mini-tts", "voice": "alloy", "input": "Hello"}
    if is_read_piece_by_piece:
        with client.audio.speech.with_streaming_response.create(**about) as answer:
            assert b"".join(answer.iter_bytes()) == MP3
    else:
        assert client.audio.speech.create(**about).content == MP3
    (entry,) = entries(place)
    assert entry.estimated
    assert entry.amounts == entry.reserved
    # Nobody reads words in sound; what is read piece by piece has at least its label.
    assert len(world.decider.observations) == is_read_piece_by_piece


def test_a_model_without_a_price_is_refused_where_a_budget_in_usd_holds(world: World, tmp_path: Path) -> None:
    _, client = spending(world, tmp_path)
    with pytest.raises(openai.RateLimitError) as caught:
        client.images.generate(model="unheard-of", prompt="A pen")
    assert caught.value.code == "price_unknown"


def test_another_model_is_written_into_the_form(world: World) -> None:
    world.decider.answer = lambda request: decided(
        request, effect=Effect.TRANSFORM, params={**request.params, "model": "gpt-image-1-mini"}
    )
    world.openai().images.edit(model="gpt-image-1", prompt="Greener", image=file("a.png"))
    (call,) = world.upstream.calls
    assert b"gpt-image-1-mini" in call.body
    assert MP3 * 100 in call.body
    assert call.headers["content-type"].startswith("multipart/form-data; boundary=agentguard-")


@pytest.mark.parametrize("is_read_piece_by_piece", [False, True])
def test_an_answer_that_the_decision_wants_changed_does_not_pass(
    world: World, *, is_read_piece_by_piece: bool
) -> None:
    world.decider.answer = lambda request: decided(request, obligations=(Obligation("max_bytes", 4),))
    client = world.openai()
    about = {"model": "gpt-4o-mini-tts", "voice": "alloy", "input": "Hello"}
    speech = client.audio.speech
    ask = speech.with_streaming_response.create(**about).__enter__ if is_read_piece_by_piece else None
    with pytest.raises(openai.InternalServerError, match="images or sound"):
        (ask or (lambda: speech.create(**about)))()
    assert [each.status for each in world.decider.outcomes] == ["refused"]


class _Form:
    """A request with a body of its own making."""

    def __init__(self, body: bytes, *, size: str | None = None) -> None:
        self.headers = {
            "content-type": "multipart/form-data; boundary=b",
            "content-length": str(len(body)) if size is None else size,
        }
        self._body = body

    def read(self) -> bytes:
        return self._body


GOOD = b'--b\r\nContent-Disposition: form-data; name="n"\r\n\r\n1\r\n--b--\r\n'


@pytest.mark.parametrize(
    ("request_", "is_read"),
    [
        (_Form(GOOD), True),
        (_Form(GOOD[:-4]), False),
        (_Form(GOOD, size=""), False),
        (_Form(GOOD, size=str(2**40)), False),
    ],
)
def test_a_form_is_read_only_if_nobody_could_read_it_differently(request_: Any, *, is_read: bool) -> None:
    assert (form_of(request_) is not None) is is_read


def test_a_form_with_a_field_twice_is_of_no_known_model(world: World) -> None:
    form = b"".join(
        b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n%b\r\n' % each for each in (b"x", b"y")
    )
    headers = {"content-type": "multipart/form-data; boundary=b"}
    inner = world.openai()._client  # the SDK writes no such form
    inner.post(f"{world.upstream.url}/v1/images/edits", content=form + b"--b--\r\n", headers=headers)
    assert world.asked() == [("llm.media", "llm/127.0.0.1/unknown")]
