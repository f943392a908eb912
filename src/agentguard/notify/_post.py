"""One POST to somebody's server, bounded in time and bytes; no redirect is followed, no proxy used."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp

from agentguard.notify._channel import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEADLINE_S = 15.0
_MAX_ANSWER = 64 * 1024
_OK, _MULTIPLE, _TIMEOUT, _TOO_MANY, _SERVER = 200, 300, 408, 429, 500


def post(url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
    """Return the status and the body of the answer to a POST that was taken (2xx).

    Raises:
        DeliveryError: it was not.
    """
    try:
        status, answer, retry_after = asyncio.run(_post(url, body, headers))
    except TimeoutError:
        raise DeliveryError(f"no answer within {DEADLINE_S:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # Its text may hold the address, which can be a secret.
        raise DeliveryError(f"cannot be reached: {type(error).__name__}") from None
    if _OK <= status < _MULTIPLE:
        return status, answer
    retryable = status in {_TIMEOUT, _TOO_MANY} or status >= _SERVER
    raise DeliveryError(f"answered with status {status}", permanent=not retryable, retry_after_s=retry_after)


async def _post(url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes, float | None]:
    async with asyncio.timeout(DEADLINE_S):
        async with aiohttp.ClientSession(trust_env=False, cookie_jar=aiohttp.DummyCookieJar()) as session:
            own = {"Content-Type": "application/json", "User-Agent": "agentguard", **headers}
            async with session.post(url, data=body, headers=own, allow_redirects=False) as response:
                answer = await response.content.read(_MAX_ANSWER)
                return response.status, answer, _seconds(response.headers.get("Retry-After", ""))


def _seconds(text: str) -> float | None:
    # As a date it is as good as absent: our own back-off counts then.
    return min(float(text), 3600.0) if text.isascii() and text.isdigit() and len(text) < 8 else None  # noqa: PLR2004
