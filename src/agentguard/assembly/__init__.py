"""The only place where configuration becomes objects.

Enters: a project folder and the environment. Leaves: a `Project` (what it declares), an `Engine` (a decision
point that records), the sidecar's `Services`. Called by: the SDK's face, the command line. It holds no logic of
its own: it reads, builds and wires.
"""

from agentguard.assembly._approvals import (
    ApprovalWork,
    are_approvals_worked_on,
    probe_approvals,
    read_approvals,
)
from agentguard.assembly._assembly import (
    Engine,
    Spending,
    open_gateway,
    open_sensor_link,
    open_ticket_store,
    open_tickets,
    read_budgets,
    read_ledger,
    read_prices,
    verify_audit,
)
from agentguard.assembly._events import Events, read_events
from agentguard.assembly._kernel_policy import sign_kernel_policy
from agentguard.assembly._notifying import Notifying, Telling, open_notifying
from agentguard.assembly._project import (
    DEFAULT_PROJECT,
    Project,
    default_project,
    load_project,
)
from agentguard.assembly._tokens import (
    Tokens,
    open_people,
    open_tokens,
)

__all__ = [
    "DEFAULT_PROJECT",
    "ApprovalWork",
    "Engine",
    "Events",
    "Notifying",
    "Project",
    "Spending",
    "Telling",
    "Tokens",
    "are_approvals_worked_on",
    "default_project",
    "load_project",
    "open_gateway",
    "open_notifying",
    "open_people",
    "open_sensor_link",
    "open_ticket_store",
    "open_tickets",
    "open_tokens",
    "probe_approvals",
    "read_approvals",
    "read_budgets",
    "read_events",
    "read_ledger",
    "read_prices",
    "sign_kernel_policy",
    "verify_audit",
]
