"""What a call is before it is made, and the most that it can cost."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import MOST_AMOUNT, Effect, SpendAnswer, Spender, SpendQuestion, Unit
from agentguard.spend._prices import PICO, Prices, at
from agentguard.spend._usage import Api

if TYPE_CHECKING:
    from agentguard.spend._prices import ModelPrice, Price, PriceTable

# Text has fewer tokens than a third of its bytes; random bytes can have more, and become an overrun.
BYTES_A_TOKEN = 3
# An attribute of an enumeration takes as long as a call.
_USD, _TOKENS, _CALLS = Unit.USD, Unit.TOKENS, Unit.CALLS
# A tier that costs no more than the standard one, so that its price is a bound where a list lacks it.
_NO_DEARER = frozenset(("", "batch", "flex"))


class Call(msgspec.Struct, frozen=True):
    """A model call as an enforcement point sees it before it is sent.

    `input_bytes` is the size of the body. `extra_input_tokens` is for what it names and does not hold, as an
    image by its address; `unseen_input` says that nobody can tell how much that is, as with a conversation that
    the provider keeps: the model's whole context counts then. `tier` is the service tier or `batch`. `prompt`
    is what is looked at for repetition; only a keyed digest of it is kept.
    """

    provider: str
    model: str
    input_bytes: int
    api: Api = Api.CHAT
    max_output_tokens: int | None = None
    choices: int = 1
    tier: str = ""
    extra_input_tokens: int = 0
    unseen_input: bool = False
    writes_cache: bool = False
    has_audio: bool = False
    has_image: bool = False
    prompt: bytes = b""

    @property
    def has_output(self) -> bool:
        """Whether the answer costs tokens."""
        return self.api is not Api.EMBEDDINGS


class Admission(msgspec.Struct, frozen=True):
    """What the budgets say of a call, and what was reserved for it.

    `allow`: send it as it is. `transform`: send it to `model`, with `max_output_tokens` written into it where
    that is not None. `require_approval`: a person is to be asked. `deny`: `reason` says why, `code` says it to
    programs, and where time helps, `retry_at` says when; `approval` is what people were asked with. `output_tokens` is what was reserved for the answer, all choices together:
    a stream that goes beyond it is to be cut. Nothing is reserved unless `is_admitted`; an admitted
    call is settled or released once.
    """

    effect: Effect
    attempt: str
    call: Call
    spender: Spender
    model: str
    max_output_tokens: int | None = None
    reserved: dict[Unit, int] = {}
    output_tokens: int = 0
    reason: str = ""
    code: str = ""
    budget: str = ""
    retry_at: datetime | None = None
    question: SpendQuestion | None = None
    approval: str = ""

    @property
    def is_admitted(self) -> bool:
        """Whether the call may be made."""
        return self.effect in (Effect.ALLOW, Effect.TRANSFORM)

    def answered(self, answer: SpendAnswer) -> Admission:
        """Return the refusal of a call whose question got an answer that is no yes; nothing is reserved."""
        asked = msgspec.structs.replace(self, approval=answer.approval)
        if answer.is_pending:
            return msgspec.structs.replace(asked, code="approval_required")
        return msgspec.structs.replace(asked, effect=Effect.DENY, reason=f"{self.reason}: {answer.note}")


class Quote(msgspec.Struct, frozen=True):
    """What a call costs at most: `prices` is None where nobody knows it."""

    call: Call
    name: str
    prices: Prices | None
    input_tokens: int
    most_output: int

    def amounts(self, output_tokens: int) -> dict[Unit, int]:
        """Return the most that the call counts as in each unit, if each choice answers so much."""
        output = output_tokens * self.call.choices if self.call.has_output else 0
        usd = -(-(self.input_cost + output * self.output_rate) // PICO)
        tokens = self.input_tokens + output
        return {_USD: min(usd, MOST_AMOUNT), _TOKENS: min(tokens, MOST_AMOUNT), _CALLS: 1}

    def affordable(self, unit: Unit, left: int) -> int:
        """Return how many tokens each choice may answer so that the call fits into what is left of a budget."""
        if unit is Unit.TOKENS:
            return max(left - self.input_tokens, 0) // self.call.choices
        rate = self.output_rate * self.call.choices
        rest = max(left * PICO - self.input_cost, 0)
        return rest // rate if rate else self.most_output

    @property
    def input_cost(self) -> int:
        """The most that the input costs, in picodollars."""
        prices = self.prices
        if prices is None:
            return 0
        rates: list[Price | None] = [prices.input]
        if self.call.writes_cache or self.call.api is not Api.MESSAGES:
            # Only that one API's cache is written when it is asked for.
            rates.append(prices.cache_write)
        if self.call.writes_cache:
            rates.append(prices.cache_write_1h)
        if self.call.has_audio:
            rates.append(prices.input_audio)
        if self.call.has_image:
            rates.append(prices.input_image)
        request = at(prices.request, self.input_tokens) if prices.request is not None else 0
        return self.input_tokens * self._highest(rates) + request

    @property
    def output_rate(self) -> int:
        """The most that a token of the answer costs, in picodollars."""
        if self.prices is None:
            return 0
        rates = [self.prices.output, self.prices.output_reasoning]
        if self.call.has_audio:
            rates.append(self.prices.output_audio)
        if self.call.has_image:
            rates.append(self.prices.output_image)
        return self._highest(rates)

    def _highest(self, rates: list[Price | None]) -> int:
        return max([0 if rate is None else at(rate, self.input_tokens) for rate in rates])


def quote(call: Call, table: PriceTable, model: str, now: datetime, *, most_output: int) -> Quote:
    """Return what `call` costs at most, priced as `model`; `most_output` is for a model whose maximum is unknown."""
    found = table.find(call.provider, model)
    estimated = -(-call.input_bytes // BYTES_A_TOKEN) + call.extra_input_tokens
    most = most_output
    if found is not None:
        most = found.max_output or most
        if call.unseen_input:
            estimated = max(estimated, found.context)
    prices = prices_for(found, call.tier, now)
    if call.unseen_input and not (found is not None and found.context):
        # Nobody can say how large the input is, so nobody can say what it costs.
        prices = None
    name = found.id if found is not None else model.lower()
    return Quote(call, name, prices, estimated, most)


def prices_for(model: ModelPrice | None, tier: str, now: datetime) -> Prices | None:
    """Return a model's prices in a tier, None if they are not known: a dearer tier is not guessed."""
    if model is None or (tier not in _NO_DEARER and tier not in model.tiers):
        return None
    prices = model.at(now.date(), tier)
    return prices if prices.input is not None or prices.output is not None else None
