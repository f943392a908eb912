"""Secrets that settings name and do not hold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from agentguard.core import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

# Where a secret is: in a variable of the environment, or in a file (relative to the project).
SecretReference = Annotated[str, Meta(pattern=r"^(env:[A-Za-z_][A-Za-z0-9_]{0,127}|file:[^\0]{1,1024})\Z")]
_MAX_SECRET = 16_384


def read_secret(
    reference: str, folder: Path, environ: Mapping[str, str], *, of: str, code: str, hint: str
) -> str:
    """Return the secret that `env:NAME` or `file:PATH` names, without the white space around it.

    Raises:
        ConfigError: it is not there or empty (with `code`); the text names `of` and the place, not the secret.
    """
    kind, _, where = reference.partition(":")
    text = ""
    if kind == "env":
        text = environ.get(where, "")
    else:
        try:
            with (folder / Path(where).expanduser()).open(encoding="utf-8") as stream:
                text = stream.read(_MAX_SECRET)
        except (OSError, UnicodeDecodeError):
            text = ""
    if not text.strip():
        raise ConfigError(f"{of} has no secret in `{reference}`", code=code, hint=hint)
    return text.strip()
