"""The pages that people see: rendered here, served by `server`.

Enters: audit records, events, approvals, the chain's state, the policy set, the API's description. Leaves: HTML, and the
static files beside it.
Called by: `server`. It must never treat what an agent wrote as anything but text: it is escaped, cut, and
its invisible characters are shown; no script or style stands in a page.
"""

from agentguard.console._approvals import ApprovalView, view_of
from agentguard.console._event_rows import event_row_of
from agentguard.console._pages import (
    render_approval,
    render_approvals,
    render_decide,
    render_docs,
    render_live,
    render_login,
    render_policies,
)
from agentguard.console._rows import Chain, Row, row_of
from agentguard.console._static import StaticFile, static_files
from agentguard.console._text import visible

__all__ = [
    "ApprovalView",
    "Chain",
    "Row",
    "StaticFile",
    "event_row_of",
    "render_approval",
    "render_approvals",
    "render_decide",
    "render_docs",
    "render_live",
    "render_login",
    "render_policies",
    "row_of",
    "static_files",
    "view_of",
    "visible",
]
