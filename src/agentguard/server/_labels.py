"""`/v1/regrade`, `/v1/vouch`, `/v1/sessions`: people's word on values and wishes, by the admin token, a person's own or one with `act_as`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agentguard.core import (
    AuditError,
    CheckReply,
    Principal,
    PrincipalKind,
    RegistryError,
    Regrade,
    RegradeCall,
    RequestError,
    SessionCall,
    SessionOpening,
    VouchCall,
    Vouched,
)
from agentguard.server._http import HttpError, bearer, parse_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from agentguard.server._check import CheckRoutes
    from agentguard.server._http import Headers
    from agentguard.server._services import Services

    T = TypeVar("T")

# Who asks with the admin token and says no name.
ADMIN = Principal("admin", kind=PrincipalKind.HUMAN)

_regrade_decoder = msgspec.json.Decoder(RegradeCall)
_vouch_decoder = msgspec.json.Decoder(VouchCall)
_session_decoder = msgspec.json.Decoder(SessionCall)
_encoder = msgspec.json.Encoder()
_STATUS = {
    "flow_limit": 409,
    "vouch_refused": 403,
    "session_refused": 403,
    "session_taken": 409,
    "session_unkept": 503,
    "closed": 503,
}
_UNKNOWN = frozenset(("session_unknown", "source_unknown", "action_undeclared"))
_NOT_VOUCHED = "use a person's token, one issued with `--act-as`, or the admin token"


class LabelRoutes:
    """Answers people and trusted enforcement points. Each method takes the headers and the body."""

    def __init__(self, services: Services, check: CheckRoutes) -> None:
        self._services = services
        self._labels = services.labels
        self._check = check

    async def regrade(self, headers: Headers, body: bytes) -> bytes:
        """Decide on a change of a label, and carry it out if it is allowed."""
        asks = self._who(headers)
        call = parse_json(body, _regrade_decoder)
        wish = msgspec.structs.asdict(call)
        request_id = wish.pop("request_id")
        wish["by"] = asks.named(call.by, call.principal)
        regrade = _made(lambda: Regrade(**wish))
        decision = await self._carry_out(lambda: self._labels.regrade(regrade))
        self._check.note(decision)
        return _encoder.encode(CheckReply(request_id, decision))

    async def vouch(self, headers: Headers, body: bytes) -> bytes:
        """Take in words that no model wrote."""
        asks = self._who(headers)
        call = parse_json(body, _vouch_decoder)
        whose = call.principal or asks.own.id
        by = asks.voucher(call.by, whose)
        words = _made(
            lambda: Vouched(principal=whose, session=call.session, text=call.text, source=call.source, by=by)
        )
        await self._carry_out(lambda: self._labels.vouch(words))
        return b""

    async def open_session(self, headers: Headers, body: bytes) -> bytes:
        """Open a session with the user's words."""
        asks = self._who(headers)
        call = parse_json(body, _session_decoder)
        whose = asks.own if call.principal is None else asks.find(call.principal)
        opening = SessionOpening(
            whose, call.intent, call.tools, call.session, call.subject, asks.voucher(call.by, whose.id)
        )
        opened = await self._carry_out(lambda: self._services.sessions.open_session(opening))
        return _encoder.encode(opened)

    def _who(self, headers: Headers) -> _Asking:
        if self._services.admin_matches(bearer(headers)):
            own = self._services.principal_named(ADMIN.id) or ADMIN
            return _Asking(own, self._person)
        token = self._check.authenticate(headers)
        return _Asking(token.principal, lambda name: self._check.principal(token, name), act_as=token.act_as)

    def _person(self, name: str) -> Principal:
        person = self._services.principal_named(name)
        if person is None:
            raise HttpError(403, "principal_unknown", "the inventory has no such principal")
        return person

    async def _carry_out(self, call: Callable[[], T]) -> T:
        try:
            return await self._check.in_thread(call)
        except AuditError as error:
            raise HttpError(503, error.code, error.message, hint=error.hint) from None
        except (RequestError, RegistryError) as error:
            status = 404 if error.code in _UNKNOWN else _STATUS.get(error.code, 400)
            raise HttpError(status, error.code, error.message, hint=error.hint) from None


class _Asking:
    """Who asks: `own` is the token's principal, `find` returns another one that it may name."""

    def __init__(self, own: Principal, find: Callable[[str], Principal], *, act_as: bool = False) -> None:
        self.own = own
        self.find = find
        self._act_as = act_as

    def named(self, name: str | None, whose: str) -> Principal:
        """Return who is to be asked as, about a session of `whose`; an agent goes on to be denied, on record."""
        by = self.own if name is None else self.find(name)
        is_service = by.kind is PrincipalKind.SERVICE
        if (is_service and not self._act_as) or (by is not self.own and self._is_own(whose)):
            raise HttpError(
                403,
                "regrade_not_vouched",
                "this token may not change this session's labels",
                hint=_NOT_VOUCHED,
            )
        return by

    def voucher(self, name: str | None, whose: str) -> Principal:
        """Return who vouches for words in a session of `whose`."""
        by = self.own if name is None else self.find(name)
        is_own = self._is_own(whose) or (by.kind is PrincipalKind.AGENT and by.id == whose)
        if is_own or not (self._act_as or by.kind is PrincipalKind.HUMAN):
            raise HttpError(
                403, "vouch_refused", "this token may not vouch for the user's words", hint=_NOT_VOUCHED
            )
        if by.kind is PrincipalKind.AGENT:
            # Whom the operator trusts to speak for others is an enforcement point, whatever it is listed as.
            return msgspec.structs.replace(by, kind=PrincipalKind.SERVICE)
        return by

    def _is_own(self, whose: str) -> bool:
        """Tell whether this is an agent's token and the session its own, or that of one in its chain."""
        own = self.own
        return own.kind is PrincipalKind.AGENT and whose in (own.id, *own.on_behalf_of)


def _made(make: Callable[[], T]) -> T:
    try:
        return make()
    except ValueError as error:
        raise HttpError(400, "shape_invalid", str(error)) from None
