from __future__ import annotations

from typing import Any

import pytest

from agentguard.spend import Api, Call, media_call


def asked(api: Api, *files: int, images: Any = None) -> Call:
    return media_call(
        "openai", "m", api, body_bytes=1_000 + sum(files), files=files, images=images, prompt=b""
    )


@pytest.mark.parametrize(
    ("images", "choices"),
    [(None, 1), (3, 3), ("3", 3), ("x", 1), (0, 1), (-2, 1), (True, 1), (10**9, 128), ("9" * 99, 128)],
)
def test_images_count_as_many_as_are_wanted(images: Any, choices: int) -> None:
    assert asked(Api.IMAGES, images=images).choices == choices


def test_files_count_as_what_they_are_and_not_as_text() -> None:
    images, sound = asked(Api.IMAGES, 5_000, 7_000), asked(Api.AUDIO, 3_201, images=9)
    assert (images.input_bytes, images.extra_input_tokens, images.has_image) == (1_000, 18_000, True)
    assert (sound.input_bytes, sound.extra_input_tokens, sound.has_audio) == (1_000, 101, True)
    assert (images.max_output_tokens, sound.max_output_tokens, sound.choices) == (9_000, 16_384, 1)
