from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agentguard.core import Integrity, Principal, Regrade, Sensitivity, Vouched

FIELDS: dict[str, Any] = {
    "by": Principal("anna"),
    "principal": "helper",
    "session": "s",
    "action": "mail.send",
    "param": "/to",
    "reason": "known",
}
BAD: list[tuple[dict[str, Any], str]] = [
    ({"source": "s"}, "an integrity or a confidentiality"),
    (
        {"source": "s", "integrity": Integrity.TRUSTED, "confidentiality": Sensitivity.PUBLIC},
        "an integrity or a confidentiality",
    ),
    ({"integrity": Integrity.TRUSTED}, "a source or a value"),
    ({"integrity": Integrity.TRUSTED, "source": "s", "value": "v"}, "a source or a value"),
    ({"integrity": Integrity.TRUSTED, "source": "s", "param": 7}, "is text"),
]


@pytest.mark.parametrize(("change", "why"), BAD)
def test_change_that_says_nothing_or_two_things_cannot_be_spelt(change: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Regrade(**FIELDS | change)


def test_change_says_which_action_it_is_and_survives_the_wire() -> None:
    endorse = Regrade(**FIELDS, source="s", integrity=Integrity.TRUSTED)
    declassify = Regrade(**FIELDS, value="", confidentiality=Sensitivity.PUBLIC)
    assert (endorse.kind, declassify.kind) == ("flow.endorse", "flow.declassify")
    for each in (endorse, declassify):
        assert msgspec.json.decode(msgspec.json.encode(each), type=Regrade) == each


WORDS: list[tuple[dict[str, Any], str]] = [
    ({"text": ""}, "characters"),
    ({"text": "x" * 24_577}, "characters"),
    ({"text": ["x"]}, "are texts"),
    ({"source": ""}, "printable"),
    ({"source": "a\nb"}, "printable"),
    ({"source": "x" * 257}, "printable"),
    ({"source": "tool:mail.read"}, "observed"),
    ({"source": "other"}, "observed"),
]


@pytest.mark.parametrize(("change", "why"), WORDS)
def test_words_that_nobody_can_vouch_for_cannot_be_spelt(change: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Vouched(**{"principal": "helper", "session": "s", "text": "x"} | change)
