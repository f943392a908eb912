"""The bounds that tokens are issued and verified within."""

from __future__ import annotations

MAX_TTL_S = 86_400  # from `iat` to `exp`
LEEWAY_S = 5  # by which `iat` and `nbf` may lie ahead; `exp` has none
MAX_TOKEN_BYTES = 8_192
MAX_DEPTH = 4  # of `act` in `act`
MAX_TEXT = 256  # characters of a principal's id, a role, a `jti`
