"""What people say of values: that a label is too strict for one purpose, or that no model wrote a text."""

from __future__ import annotations

import msgspec

from agentguard.core.label import Integrity
from agentguard.core.principal import Principal
from agentguard.core.resource import Sensitivity

ENDORSE = "flow.endorse"
DECLASSIFY = "flow.declassify"
REGRADES = frozenset((ENDORSE, DECLASSIFY))
MAX_VOUCHED_TEXT = 24_576
_MAX_SOURCE = 256
# Names of sources that the label store gives itself.
_OWN_SOURCES = ("tool:", "net:")
_OTHER = "other"


class Regrade(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A wish of `by` to change a label in a session of `principal`, for one `action` and argument.

    It endorses (`integrity`) or declassifies (`confidentiality`) either all values of a `source`, as
    `tool:mail.read`, or one `value`. `param` is a JSON pointer into the action's parameters (RFC 6901), or `*`.

    Raises:
        ValueError: it does not name exactly one of `integrity` and `confidentiality`, and of `source` and `value`.
    """

    by: Principal
    principal: str
    session: str
    action: str
    param: str
    reason: str
    source: str = ""
    value: str | None = None
    integrity: Integrity | None = None
    confidentiality: Sensitivity | None = None

    def __post_init__(self) -> None:
        texts = (self.principal, self.session, self.action, self.param, self.reason, self.source)
        if not all(type(each) is str for each in (*texts, self.value or "")):
            raise ValueError("all of a change but its levels and who asks is text")
        if (self.integrity is None) is (self.confidentiality is None):
            raise ValueError("name an integrity or a confidentiality, and not both")
        if bool(self.source) is (self.value is not None):
            raise ValueError("name a source or a value, and not both")

    @property
    def kind(self) -> str:
        """The action that this is: `flow.endorse` or `flow.declassify`."""
        return ENDORSE if self.integrity is not None else DECLASSIFY


class Vouched(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The word of `by` that `text` is the user's, or the configuration's, and that no model wrote it.

    It counts in one session of `principal`. `source` names whose words they are. The text is never kept. Without
    `by` it is the word of the host program, or of the one whose token is shown to a sidecar.

    Raises:
        ValueError: the text is empty or longer than 24,576 characters, or `source` is no name for such words.
    """

    principal: str
    session: str
    text: str
    source: str = "user"
    by: Principal | None = None

    def __post_init__(self) -> None:
        if not all(type(each) is str for each in (self.principal, self.session, self.text, self.source)):
            raise ValueError("vouched words, their source and their session are texts")
        if not 0 < len(self.text) <= MAX_VOUCHED_TEXT:
            raise ValueError(f"vouched words have 1 to {MAX_VOUCHED_TEXT} characters")
        name = self.source
        if not 0 < len(name) <= _MAX_SOURCE or not name.isprintable():
            raise ValueError(f"a source is named in 1 to {_MAX_SOURCE} printable characters")
        if name.startswith(_OWN_SOURCES) or name == _OTHER:
            raise ValueError("this source stands for what was observed, and nobody vouches for that")
