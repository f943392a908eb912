"""Holds calls to their budgets: reserves before, books after, tells when a threshold is passed."""

from __future__ import annotations

import unicodedata
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

import msgspec

from agentguard.core import (
    AttemptState,
    Bill,
    Clock,
    Effect,
    Grouping,
    Hold,
    Reservation,
    Spender,
    SpendError,
    SystemClock,
    Unit,
)
from agentguard.spend._account import Account, accounts_of
from agentguard.spend._alerts import Alerts
from agentguard.spend._call import Admission, Call, Quote, prices_for, quote
from agentguard.spend._figures import Figures, SpendFigures, standings_of
from agentguard.spend._grants import Grants
from agentguard.spend._prices import PriceTable, cost_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agentguard.core import Booking, EventBus, Ledger, Level, SpendAnswer, SpendQuestion
    from agentguard.spend._budget import Budgets
    from agentguard.spend._usage import Report

T = TypeVar("T")

# A shorter answer than this is not worth its input: the call is refused in place of being cut to it.
LEAST_OUTPUT = 64
# Between reading what is left and reserving it, others may have taken it.
_TRIES = 4
_MAX_TEXT = 256
_OF_MODELS = frozenset((Unit.USD, Unit.TOKENS, Unit.CALLS))
_OF_TOOLS = frozenset((Unit.TOOL_COST,))
_OF_OUTPUT = frozenset((Unit.USD, Unit.TOKENS))


class SpendLimits(msgspec.Struct, frozen=True):
    """How long a reservation waits for its bill, and the output limit of a model whose maximum nobody knows."""

    reservation_ttl: timedelta = timedelta(minutes=15)
    max_output_tokens: int = 16_384


class Settlement(msgspec.Struct, frozen=True):
    """What was booked: `cost` in micro-dollars, None where the price is not known.

    `overrun`: more than was reserved. `repeated`: it had been settled or released before, and that stays.
    """

    state: AttemptState
    cost: int | None = None
    overrun: bool = False
    repeated: bool = False


class BudgetKeeper:
    """Reserves, settles and releases on a ledger, as the budgets say. Safe to use from many threads.

    `digest` makes a keyed digest of a prompt; without it, repetition is not seen. `bus` is told when a
    threshold or a reservation is passed.
    """

    def __init__(
        self,
        budgets: Budgets,
        prices: PriceTable,
        ledger: Ledger,
        *,
        limits: SpendLimits | None = None,
        clock: Clock | None = None,
        bus: EventBus | None = None,
        digest: Callable[[bytes], str] | None = None,
    ) -> None:
        self._budgets = budgets
        self._prices = prices
        self._ledger = ledger
        self._grouping = ledger if isinstance(ledger, Grouping) else None
        self._limits = limits or SpendLimits()
        self._clock = clock or SystemClock()
        self._alerts = Alerts(budgets, bus)
        self._digest = digest
        self._counted = Figures()
        self._grants = Grants()

    @property
    def prices_actions(self) -> bool:
        """Whether any action costs something."""
        return bool(self._budgets.tools)

    def adopt(self, budgets: Budgets, prices: PriceTable) -> None:
        """Go by other budgets and prices from now on; what is reserved stays, and is booked as it was claimed."""
        self._prices = prices
        self._budgets = budgets
        self._alerts.budgets = budgets

    def figures(self) -> SpendFigures:
        """Return what was spent, refused and overrun, and how far the budgets are used."""
        return self._counted.read(standings_of(self._budgets, self._ledger, self._clock.now()))

    def together(self, steps: Sequence[Callable[[], T]]) -> list[T | Exception]:
        """Return what each step answers or raises; the ledger keeps what all of them did for what one would cost.

        A step asks this keeper, in this thread; where they cannot be kept at once, each is taken alone.
        """
        if len(steps) > 1 and self._grouping is not None:
            with suppress(SpendError), self._alerts.after(), self._grouping.together():
                return [_tried(step) for step in steps]
        return [_tried(step) for step in steps]

    def reserve(self, call: Call, spender: Spender, *, attempt: str) -> Admission:
        """Return whether the budgets let a call pass, with what it may cost at most reserved if they do.

        `attempt` names one attempt at a provider: a retry that is sent again has a name of its own. Never
        raises: where the ledger cannot be asked, the call is denied.
        """
        # What is no limit counts as none: a negative one would make a call cheaper.
        most = call.max_output_tokens if (call.max_output_tokens or 0) > 0 else None
        provider, model, choices = _text(call.provider), _text(call.model), max(call.choices, 1)
        if (provider, model, choices, most) != (
            call.provider,
            call.model,
            call.choices,
            call.max_output_tokens,
        ):
            call = msgspec.structs.replace(
                call, provider=provider, model=model, choices=choices, max_output_tokens=most
            )
        asking = _Asking(_text(attempt), call, _spender(spender), self._clock.now())
        try:
            return self._told(self._reserve(asking), asking.now)
        except SpendError as error:
            return asking.refusal(f"the ledger cannot reserve: {error.message}", error.code)

    def settle(self, admission: Admission, report: Report | None, *, estimated: bool = False) -> Settlement:
        """Book what a call cost, by the provider's report; without one, what was reserved for it.

        `estimated` says that the report is not the provider's own, as after a cut stream.

        Raises:
            SpendError: nothing is booked; the reservation stands, and is booked whole when it expires.
        """
        if report is None:
            bill = Bill(admission.reserved, estimated=True)
            return self._book(admission, bill, admission.reserved.get(Unit.USD))
        cost = self._cost(admission, report)
        usd = admission.reserved.get(Unit.USD, 0) if cost is None else cost
        amounts = {Unit.USD: usd, Unit.TOKENS: report.usage.total_tokens, Unit.CALLS: 1}
        bill = Bill(amounts, report.usage, _text(report.model), estimated=estimated, unpriced=cost is None)
        return self._book(admission, bill, cost)

    def release(self, admission: Admission) -> Settlement:
        """Give back what was reserved for a call that was never made, or that the provider does not charge.

        Raises:
            SpendError: nothing is given back; the reservation is booked whole when it expires.
        """
        if not admission.reserved:
            return Settlement(AttemptState.RELEASED)
        booking = self._ledger.release(admission.attempt, at=self._clock.now())
        return Settlement(booking.state, repeated=booking.repeated)

    def grant(self, question: SpendQuestion, given_at: datetime) -> None:
        """Go on past the threshold that a question was about: people said yes to it at `given_at`."""
        self._grants.add(question, given_at)

    def turn_down(self, admission: Admission, answer: SpendAnswer) -> Admission:
        """Return the refusal of a call whose question got an answer that is no yes; a no at the limit is no room."""
        question = admission.question
        refused = admission.answered(answer)
        self._counted.refused(refused.spender, refused.call.model, refused.code)
        budget = self._budgets.budget(admission.budget)
        if budget is not None and question is not None and not answer.is_pending and question.is_past_limit:
            self._alerts.stop(budget, refused.reason, refused.spender, self._clock.now())
        return refused

    def reserve_tool(
        self, action: str, spender: Spender, *, attempt: str, is_approved: bool = False
    ) -> Admission:
        """Return whether the budgets let an action be called that costs what `budgets.yaml` says. Never raises.

        With `is_approved` a person has let this very action through: past the thresholds at which the budgets ask.
        """
        asking = _Asking(_text(attempt), Call("", _text(action), 0), _spender(spender), self._clock.now())
        amounts = {Unit.TOOL_COST: self._budgets.tool_cost(action)}
        if not amounts[Unit.TOOL_COST]:
            return asking.admission({})
        try:
            accounts = accounts_of(self._budgets, asking.spender, "", _OF_TOOLS)
            levels = self._levels(accounts, asking.now)
            for place, (account, level) in enumerate(zip(accounts, levels, strict=True)):
                asked = account.asks(level, amounts[Unit.TOOL_COST])
                if asked is not None and not is_approved:
                    return asking.question(account, level)
                if asked is not None:
                    until = level.used + amounts[Unit.TOOL_COST]
                    accounts[place] = msgspec.structs.replace(account, until=until)
            return self._told(self._hold(asking, accounts, amounts, kind="tool")[0], asking.now)
        except SpendError as error:
            return asking.refusal(f"the ledger cannot reserve: {error.message}", error.code)

    def settle_tool(self, admission: Admission) -> Settlement:
        """Book what an action costs, after it was called.

        Raises:
            SpendError: nothing is booked; the reservation stands, and is booked whole when it expires.
        """
        if not admission.reserved:
            return Settlement(AttemptState.SETTLED, 0)
        return self._book(admission, Bill(admission.reserved), admission.reserved.get(Unit.TOOL_COST))

    def _reserve(self, asking: _Asking) -> Admission:
        admission = asking.refusal("other calls took what was left", "budget_exceeded")
        for _ in range(_TRIES):
            quoted = self._quote(asking.call, asking.now)
            accounts = accounts_of(self._budgets, asking.spender, quoted.name, _OF_MODELS)
            accounts = self._grants.on(accounts, asking.spender.agent, asking.now)
            if quoted.prices is None and any(each.budget.unit is Unit.USD for each in accounts):
                return asking.unpriced()
            # What nobody looks at is not asked for: most calls need one question to the ledger.
            levels = self._levels(accounts, asking.now) if _needs_levels(quoted, accounts) else []
            written = self._written(quoted, accounts, levels)
            output = written if written is not None else asking.call.max_output_tokens
            reserved = quoted.most_output if output is None else output
            if written is not None:
                reserved = max(written, LEAST_OUTPUT)
            amounts = quoted.amounts(reserved)
            turned = self._at_thresholds(asking, quoted, accounts, levels, amounts)
            if isinstance(turned, Admission):
                return turned
            if turned is not None:
                asking = turned
                continue
            asking = asking.limited(written, reserved)
            admission, raced = self._hold(asking, accounts, amounts)
            if admission.is_admitted or not raced:
                return admission
        return admission

    def _quote(self, call: Call, now: datetime) -> Quote:
        model = self._budgets.model(call.provider, call.model)
        return quote(call, self._prices, model, now, most_output=self._limits.max_output_tokens)

    def _levels(self, accounts: list[Account], now: datetime) -> list[Level]:
        return self._ledger.levels([account.claim(now, {}) for account in accounts]) if accounts else []

    def _written(self, quoted: Quote, accounts: list[Account], levels: list[Level]) -> int | None:
        """Return the output limit that the call is to get: the model's, or what the tightest budget allows."""
        if quoted.call.max_output_tokens is not None or not quoted.call.has_output:
            return None
        room = [
            quoted.affordable(account.budget.unit, level.left)
            for account, level in zip(accounts, levels, strict=False)
            if account.budget.unit in _OF_OUTPUT
        ]
        return min(quoted.most_output, *room) if room else None

    def _at_thresholds(
        self,
        asking: _Asking,
        quoted: Quote,
        accounts: list[Account],
        levels: list[Level],
        amounts: dict[Unit, int],
    ) -> Admission | _Asking | None:
        """Return the question for a person, the same call for a cheaper model, or None to go on."""
        if not asking.because:
            for account, level in zip(accounts, levels, strict=False):
                for step in account.met(level, amounts[account.budget.unit]):
                    model = step.replacement(quoted.name)
                    if step.do == "downgrade" and model is not None:
                        return asking.downgraded(model, account, level)
        for account, level in zip(accounts, levels, strict=False):
            amount = amounts[account.budget.unit]
            asked = account.asks(level, amount)
            if asked is not None:
                question = account.question(
                    asked,
                    level,
                    who=asking.spender.agent,
                    model=asking.call.model,
                    amount=amount,
                    now=asking.now,
                )
                return msgspec.structs.replace(asking.question(account, level), question=question)
        return None

    def _hold(
        self, asking: _Asking, accounts: list[Account], amounts: dict[Unit, int], *, kind: str = "llm"
    ) -> tuple[Admission, bool]:
        """Return the ledger's answer, and whether asking again may help."""
        claims = tuple(account.claim(asking.now, amounts) for account in accounts)
        call = asking.call
        hold = self._ledger.reserve(
            Reservation(
                attempt=asking.attempt,
                at=asking.now,
                expires=asking.now + self._limits.reservation_ttl,
                spender=asking.spender,
                kind=kind,
                provider=call.provider,
                model=call.model,
                claims=claims,
                amounts=amounts,
                prompt=self._digest(call.prompt) if self._digest is not None and call.prompt else "",
            )
        )
        self._alerts.rises(hold.rises, asking.spender, asking.now)
        if hold.admitted:
            return asking.admission(amounts), False
        if hold.refused is None:
            return asking.used_before(hold), False
        short = next(
            account
            for account, claim in zip(accounts, claims, strict=True)
            if claim.meter == hold.refused.meter
        )
        return asking.shortage(short, hold.refused, amounts[short.budget.unit]), asking.output is not None

    def _told(self, admission: Admission, now: datetime) -> Admission:
        """Return what was said; where a budget has no room, whoever runs the agent may have to hear of it."""
        if not admission.is_admitted and admission.question is None:
            self._counted.refused(admission.spender, admission.call.model, admission.code)
        if admission.code == "budget_exceeded":
            budget = self._budgets.budget(admission.budget)
            if budget is not None:
                self._alerts.stop(budget, admission.reason, admission.spender, now)
        return admission

    def _cost(self, admission: Admission, report: Report) -> int | None:
        """Return what a call cost: priced as the model that the provider names, if it is known, else as asked for."""
        call, now = admission.call, self._clock.now()
        tier = report.tier or call.tier
        for name in (report.model, admission.model):
            model = (
                self._prices.find(call.provider, self._budgets.model(call.provider, name)) if name else None
            )
            prices = prices_for(model, tier, now)
            if prices is not None:
                return cost_of(report.usage, prices)
        return None

    def _book(self, admission: Admission, bill: Bill, cost: int | None) -> Settlement:
        now = self._clock.now()
        booking: Booking = self._ledger.settle(admission.attempt, bill, at=now)
        self._alerts.rises(booking.rises, admission.spender, now)
        if booking.overrun:
            self._alerts.overrun(admission.model, admission.attempt, admission.spender, now)
        if not booking.repeated:
            usd = bill.amounts.get(Unit.USD, 0) + bill.amounts.get(Unit.TOOL_COST, 0)
            self._counted.booked(admission.spender, admission.model, usd, overrun=booking.overrun)
        return Settlement(booking.state, cost, booking.overrun, booking.repeated)


def _tried(step: Callable[[], T]) -> T | Exception:
    try:
        return step()
    except Exception as error:  # noqa: BLE001 - the boundary: what is wrong with one step is not the others' fault
        return error


class _Asking(msgspec.Struct, frozen=True):
    """One call on its way through the budgets. `because` says why another model is called than was asked for."""

    attempt: str
    call: Call
    spender: Spender
    now: datetime
    output: int | None = None
    reserved_output: int = 0
    because: str = ""
    budget: str = ""

    def limited(self, output: int | None, reserved: int) -> _Asking:
        output = output if output is None else max(output, LEAST_OUTPUT)
        reserved *= self.call.choices if self.call.has_output else 0
        return msgspec.structs.replace(self, output=output, reserved_output=reserved)

    def downgraded(self, model: str, account: Account, level: Level) -> _Asking:
        because = f"{account.reached(level)}: `{model}` in place of `{self.call.model}`"
        call = msgspec.structs.replace(self.call, model=model)
        return msgspec.structs.replace(self, call=call, because=because, budget=account.budget.id)

    def admission(self, amounts: dict[Unit, int]) -> Admission:
        reasons = [self.because] if self.because else []
        if self.output is not None:
            reasons.append(f"no output limit was set: {self.output} tokens are what model and budgets allow")
        return Admission(
            Effect.TRANSFORM if reasons else Effect.ALLOW,
            self.attempt,
            self.call,
            self.spender,
            self.call.model,
            self.output,
            amounts,
            self.reserved_output,
            "; ".join(reasons),
            budget=self.budget,
        )

    def refusal(self, reason: str, code: str, effect: Effect = Effect.DENY) -> Admission:
        return Admission(
            effect, self.attempt, self.call, self.spender, self.call.model, reason=reason, code=code
        )

    def shortage(self, account: Account, level: Level, amount: int) -> Admission:
        ends = account.budget.span(self.now).ends
        until = "" if ends is None else f"; its window ends {ends:%Y-%m-%d %H:%M} UTC"
        refusal = self.refusal(account.shortage(level, amount) + until, "budget_exceeded")
        return msgspec.structs.replace(refusal, budget=account.budget.id, retry_at=ends)

    def question(self, account: Account, level: Level) -> Admission:
        reason = f"{account.reached(level)}: a person has to approve"
        refusal = self.refusal(reason, "budget_approval", Effect.REQUIRE_APPROVAL)
        ends = account.budget.span(self.now).ends
        return msgspec.structs.replace(refusal, budget=account.budget.id, retry_at=ends)

    def unpriced(self) -> Admission:
        name = f"`{self.call.model}` of `{self.call.provider}`"
        return self.refusal(
            f"nobody knows what {name} costs in tier `{self.call.tier or 'standard'}`, and a budget in USD holds",
            "price_unknown",
        )

    def used_before(self, hold: Hold) -> Admission:
        reason = f"the attempt was used before: it is {hold.state.value}"
        return self.refusal(reason, "attempt_used")


def _needs_levels(quoted: Quote, accounts: list[Account]) -> bool:
    """Tell whether a threshold does more than to notify, or an output limit has to be worked out."""
    if quoted.call.max_output_tokens is None and quoted.call.has_output:
        return True
    return any(step.do != "notify" for account in accounts for step in account.budget.steps)


def _spender(spender: Spender) -> Spender:
    texts = msgspec.structs.astuple(spender)
    joined = "".join(texts)
    if len(joined) <= _MAX_TEXT and joined.isascii():
        return spender
    return Spender(*map(_text, texts))


def _text(text: str) -> str:
    """Return what an agent may have written in a form that every ledger takes, one for each meaning."""
    if text.isascii() and len(text) <= _MAX_TEXT:
        return text
    clean = unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode())
    if len(clean) <= _MAX_TEXT:
        return clean
    # Two long texts that begin alike must not share an account.
    import hashlib

    return clean[: _MAX_TEXT - 65] + "~" + hashlib.sha256(clean.encode()).hexdigest()
