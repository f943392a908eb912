"""Makes a decision real: carries its obligations out on a result, and logs it at the level it asks for.

Enters: a `Decision`, and the result of the action that it let through. Leaves: the result as the obligations
want it, or an `ExecutionError`, and then nothing of the result. Called by: the enforcement points; the PDP asks
`obligation_problem` what can be carried out at all. It must never pass a result on that an obligation does not
fit, skip an obligation that it does not know, or log a parameter.
"""

from agentguard.enforcement._carry_out import carry_out
from agentguard.enforcement._log import log_decision
from agentguard.enforcement._obligation import KNOWN_OBLIGATIONS, obligation_problem, require_known

__all__ = ["KNOWN_OBLIGATIONS", "carry_out", "log_decision", "obligation_problem", "require_known"]
