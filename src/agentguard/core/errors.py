"""One family of errors; callers match on the type or on `code`, never on the text.

AgentGuardError
 ├─ ConfigError            configuration that cannot be used             (exit 3)
 │   ├─ DocumentError      a YAML or JSON file that cannot be read
 │   ├─ RegistryError      an action or a resource that is declared wrongly
 │   └─ PolicyError        a rule that cannot be compiled
 ├─ RequestError           a request that is malformed                   (a deny)
 ├─ IdentityError          a token that proves nobody                    (a deny)
 ├─ TicketError            an execution ticket that does not count      (the action is not run)
 ├─ AuditError             the log cannot take a record                  (a deny)
 ├─ EventError             the event store cannot take or give events
 ├─ SpendError             the ledger cannot reserve or book            (a deny)
 ├─ ApprovalError          an approval that cannot be given, used or kept (a deny)
 ├─ NotifyError            a notice that cannot be taken
 ├─ IntegrityError         something was changed that must not change    (exit 4)
 ├─ ExecutionError         an obligation that cannot be carried out      (a deny)
 ├─ KernelError            the kernel or the rights for what was asked   (exit 5)
 └─ ActionDenied           raised by a client PEP only; carries the Decision
     └─ ApprovalRequired
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentguard.core.decision import Decision


@dataclass(frozen=True, slots=True)
class Location:
    """Where in a file something is wrong: 1-based `line`, and the `field` as a dotted path."""

    file: str
    line: int | None = None
    field: str | None = None

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.field}" if self.field else place


class AgentGuardError(Exception):
    """The root. `code` is a stable snake_case name, `location` where it happened, `hint` what to do."""

    default_code = "error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        location: Location | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.location = location
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.location}: {self.message}" if self.location else self.message
        return f"{text}; {self.hint}" if self.hint else text


class ConfigError(AgentGuardError):
    """Configuration that cannot be used."""

    default_code = "config_invalid"


class DocumentError(ConfigError):
    """A YAML or JSON file that cannot be read, or that does not have the declared shape."""

    default_code = "document_invalid"


class RegistryError(ConfigError):
    """An action, a resource or a principal that is declared wrongly."""

    default_code = "registry_invalid"


class PolicyError(ConfigError):
    """A rule that cannot be compiled."""

    default_code = "policy_invalid"


class RequestError(AgentGuardError):
    """A request that is malformed; whoever asks is denied."""

    default_code = "request_invalid"


class IdentityError(AgentGuardError):
    """A token or key that proves nobody. `code` tells the failures apart, as `token_expired` does."""

    default_code = "token_invalid"


class TicketError(AgentGuardError):
    """An execution ticket that does not count. `code` tells the reasons apart, as `ticket_used` does."""

    default_code = "ticket_invalid"


class AuditError(AgentGuardError):
    """The audit log cannot take a record, so nothing may be allowed."""

    default_code = "audit_unavailable"


class EventError(AgentGuardError):
    """The event store cannot take or give events; decisions and the audit log do not depend on it."""

    default_code = "events_unavailable"


class SpendError(AgentGuardError):
    """The ledger cannot reserve or book, so nothing that costs may be allowed."""

    default_code = "spend_unavailable"


class ApprovalError(AgentGuardError):
    """An approval that cannot be given, used or kept. `code` tells the reasons apart, as `approval_closed` does."""

    default_code = "approval_refused"


class NotifyError(AgentGuardError):
    """A notice that cannot be taken; whoever has it keeps it."""

    default_code = "notify_unavailable"


class IntegrityError(AgentGuardError):
    """Something was changed that must not change."""

    default_code = "integrity_violated"


class ExecutionError(AgentGuardError):
    """An obligation that this enforcement point cannot carry out."""

    default_code = "obligation_failed"


class KernelError(AgentGuardError):
    """The kernel, or this process's rights in it, do not give what was asked for."""

    default_code = "kernel_unavailable"


class ActionDenied(AgentGuardError):  # noqa: N818 - the public name; a denial is no malfunction
    """Raised by a client PEP in place of running the action; `decision` says why."""

    default_code = "action_denied"

    def __init__(self, decision: Decision) -> None:
        super().__init__(f"{decision.action} on {decision.resource}: {decision.reason}")
        self.decision = decision


class ApprovalRequired(ActionDenied):
    """The action needs a person's approval, which it does not have."""

    default_code = "approval_required"
