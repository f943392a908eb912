"""The gateway: agents call models here, with their tokens in the place of the providers' keys."""

from __future__ import annotations

import asyncio
import logging
import random
import time
import traceback
from pathlib import PurePath
from typing import TYPE_CHECKING

from agentguard.core import Context, IdentityError, Spender
from agentguard.gateway._asking import Desk
from agentguard.gateway._dial import Dialler
from agentguard.gateway._door import approval_of, find_door, query_of, session_of, task_of, token_of
from agentguard.gateway._exchange import Caller, Exchange, Parts
from agentguard.gateway._health import Health
from agentguard.gateway._later import Later
from agentguard.gateway._people import outlasts
from agentguard.gateway._proposed import Tools
from agentguard.gateway._reading import read
from agentguard.gateway._refusal import RefusalError
from agentguard.gateway._relay import Relay
from agentguard.gateway._reply import Reply, Watch
from agentguard.gateway._seen import Seen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agentguard.config import GatewaySettings
    from agentguard.core import Decider, Decision
    from agentguard.gateway._asking import Budgets
    from agentguard.gateway._door import Asked
    from agentguard.gateway._reply import HangUps, Send, SendWhole
    from agentguard.gateway._upstream import Upstream
    from agentguard.identity import VerifiedToken

_log = logging.getLogger("agentguard.gateway")


class Gateway:
    """Answers requests below `/openai/` and `/anthropic/`. Used on one event loop.

    `spender` returns on whose account a principal's call goes (`session`, `task` and `key`, the token's id, by name).
    `blocking` says that decider and budgets wait for the disk, so they are asked in threads. `on_decision` hears
    of each decision on a model call.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        upstreams: Sequence[Upstream],
        *,
        decider: Decider,
        verify_token: Callable[[str], VerifiedToken],
        budgets: Budgets | None = None,
        spender: Callable[..., Spender] | None = None,
        blocking: bool = False,
        on_decision: Callable[[Decision], None] | None = None,
        hold_s: float = 0.0,
    ) -> None:
        self._settings = settings
        self._verify = verify_token
        self._spender = spender or _spender
        self._desk = Desk(decider, budgets, blocking=blocking, on_decision=on_decision, hold_s=hold_s)
        self._tools = Tools(settings.tools)
        self._seen = Seen(self._desk, self._tools)
        self._dialler = Dialler(upstreams)
        health = Health(upstreams, clock=time.monotonic, choose=random.Random())  # noqa: S311 - spreads load
        self._later = Later(self._desk)
        self._parts = Parts(self._desk, self._dialler, health, settings.max_retries)

    @property
    def max_body_bytes(self) -> int:
        """The largest body that a request may have."""
        return self._settings.max_body_bytes

    @property
    def is_idle(self) -> bool:
        """Whether all that was answered is booked and recorded."""
        return self._desk.is_idle

    def listen(self, on_decision: Callable[[Decision], None]) -> None:
        """Have `on_decision` hear of each decision."""
        self._desk.on_decision = on_decision

    async def answer(
        self, asked: Asked, hang_ups: HangUps, send: Send, send_whole: SendWhole | None = None
    ) -> RefusalError | None:
        """Answer one request, and return how it was refused if it was.

        Whatever fails is an error in the provider's own shape; what was begun is booked and recorded. Whoever
        serves calls what is in `hang_ups` when the agent's connection is lost.
        """
        watch = Watch(hang_ups, self._settings.max_answer_s)
        reply = Reply(send, send_whole, before_end=watch.disarm)
        try:
            await self._answer(asked, reply, watch)
        except RefusalError as error:
            await _refuse(asked.path, error, reply)
            return error
        except asyncio.CancelledError:
            if not watch.is_gone and not watch.is_late:
                raise
            watch.recall()
            if watch.is_late and not watch.is_gone:
                await _refuse(asked.path, self._too_late(), reply)
        except Exception as error:  # noqa: BLE001 - the boundary: whatever failed, nothing more is passed on
            _log.error("a call failed: %s at %s", type(error).__name__, _place(error))
            await _refuse(asked.path, RefusalError(500, "internal_error", "the gateway failed"), reply)
        finally:
            watch.disarm()
        return None

    async def close(self) -> None:
        """Close all connections to upstreams, book what is left to be, and end the threads. Idempotent."""
        await self._dialler.close()
        await self._desk.close()

    def _too_late(self) -> RefusalError:
        limit = self._settings.max_answer_s
        return RefusalError(504, "answer_slow", f"the answer took longer than {limit:g} s")

    async def _answer(self, asked: Asked, reply: Reply, watch: Watch) -> None:
        door = find_door(asked.method, asked.path)
        caller = self._caller(asked)
        query = query_of(asked.query)
        reading = read(door, asked)
        call = reading.call
        later = self._later.of(reading, door, caller.principal.id)
        await self._seen.prompt(call, caller.principal, caller.context.session)
        exchange = Exchange(self._parts, caller, door, asked, reading, query=query, later=later)
        relay: Relay | None = None
        detail = "the gateway failed"
        try:
            outlasts(watch)
            await exchange.open()
            relay = Relay(
                exchange,
                reply,
                call=call,
                caller=caller,
                tools=self._tools,
                seen=self._seen,
                later=later,
                max_bytes=self._settings.max_answer_bytes,
            )
            await relay.run()
        except RefusalError as error:
            detail = error.code
            raise
        except asyncio.CancelledError:
            detail = _why_cancelled(watch)
            raise
        finally:
            # INVARIANT: whatever happens, an attempt that was begun is booked and its outcome recorded.
            if hasattr(exchange, "response"):
                exchange.response.close()
            await _close(exchange, relay, detail)
            if later is not None:
                await asyncio.shield(later.give_back())

    def _caller(self, asked: Asked) -> Caller:
        token = token_of(asked.headers)
        try:
            verified = self._verify(token)
        except IdentityError as error:
            raise RefusalError(401, error.code, error.message) from None
        session, task = session_of(asked.headers), task_of(asked.headers)
        spender = self._spender(verified.principal.id, session=session, task=task, key=verified.jti)
        context = Context(session=session, task=task)
        return Caller(verified.principal, context, spender, approval_of(asked.headers))


async def refuse(path: str, error: RefusalError, send: Send) -> None:
    """Send an error in the shape of the provider whose path was asked for."""
    await _refuse(path, error, Reply(send, before_end=lambda: None))


async def _refuse(path: str, error: RefusalError, reply: Reply) -> None:
    if not reply.has_begun:
        await reply.whole(error.status, error.headers(), error.body(path))
    elif not reply.has_ended:
        await reply.end(error.event(path))


async def _close(exchange: Exchange, relay: Relay | None, detail: str) -> None:
    if relay is not None:
        await relay.give_up(detail)
    else:
        await exchange.close(succeeded=False, is_estimated=True, detail=detail)


def _why_cancelled(watch: Watch) -> str:
    if watch.is_gone:
        return "the agent hung up"
    return "it took too long" if watch.is_late else "the gateway was stopped"


def _spender(agent: str, *, session: str, task: str, key: str) -> Spender:
    return Spender(agent=agent, session=session, task=task, key=key)


def _place(error: Exception) -> str:
    """Return where an error was raised; its own words may quote a prompt."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{PurePath(frame.filename).name}:{frame.lineno}"
