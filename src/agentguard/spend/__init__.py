"""What calls cost, and what they may cost: prices, usage, budgets.

Enters: a model call before it is made, the provider's report after it, `budgets.yaml`. Leaves: an `Admission`
with what was reserved, a `Settlement` with what was booked, reports of the history. Called by: the enforcement
points for models (`BudgetKeeper`), the command line, assembly. It must never count money in floats, book less
than a provider reported, or ask the network.
"""

from agentguard.spend._account import amount_text, usd_text
from agentguard.spend._budget import Budget, Budgets, load_budgets
from agentguard.spend._call import Admission, Call
from agentguard.spend._keeper import BudgetKeeper, Settlement, SpendLimits
from agentguard.spend._price_check import PriceCheck, PriceDifference, check_prices
from agentguard.spend._price_import import Imported, encode_prices, import_prices
from agentguard.spend._prices import (
    ModelPrice,
    PriceFile,
    Prices,
    PriceTable,
    cost_of,
    decode_prices,
    load_prices,
)
from agentguard.spend._usage import Api, Report, StreamUsage, read_report

__all__ = [
    "Admission",
    "Api",
    "Budget",
    "BudgetKeeper",
    "Budgets",
    "Call",
    "Imported",
    "ModelPrice",
    "PriceCheck",
    "PriceDifference",
    "PriceFile",
    "PriceTable",
    "Prices",
    "Report",
    "Settlement",
    "SpendLimits",
    "StreamUsage",
    "amount_text",
    "check_prices",
    "cost_of",
    "decode_prices",
    "encode_prices",
    "import_prices",
    "load_budgets",
    "load_prices",
    "read_report",
    "usd_text",
]
