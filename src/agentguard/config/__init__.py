"""Settings of one project folder: `agentguard.yaml`, overridden by the environment, validated once.

Enters: a folder and the environment. Leaves: a `Config`. Called by: assembly and who is handed a section. Every
setting has a type with its range, a default and a one-line description; `settings()` lists them for the
reference. A key or an `AGENTGUARD_<SECTION>_<KEY>` variable that nobody knows is refused, because a setting
that is silently ignored is a protection that is silently off.
"""

from agentguard.config._approvals import (
    ApprovalSettings,
    EscalationSettings,
    RouteSettings,
    StandInSettings,
    TemporalSettings,
    TemporalTlsSettings,
)
from agentguard.config._config import (
    FILE_NAME,
    FOLDER_VARIABLE,
    AuditSettings,
    ClientSettings,
    Config,
    EventSettings,
    FactsSettings,
    IdentitySettings,
    LogSettings,
    PolicySettings,
    ProjectSettings,
    RegistrySettings,
    RiskSettings,
    ServerSettings,
    Setting,
    SpendSettings,
    Thresholds,
    load_config,
)
from agentguard.config._gateway import GatewaySettings, ToolSettings, UpstreamSettings
from agentguard.config._kernel import EgressSettings, SensorSettings, WatchSettings
from agentguard.config._notify import (
    ChannelSettings,
    EmailSettings,
    NotifySettings,
    PagerDutySettings,
    QuietSettings,
    SlackSettings,
    TeamsSettings,
    WebhookSettings,
)
from agentguard.config._secret import SecretReference, read_secret

__all__ = [
    "FILE_NAME",
    "FOLDER_VARIABLE",
    "ApprovalSettings",
    "AuditSettings",
    "ChannelSettings",
    "ClientSettings",
    "Config",
    "EgressSettings",
    "EmailSettings",
    "EscalationSettings",
    "EventSettings",
    "FactsSettings",
    "GatewaySettings",
    "IdentitySettings",
    "LogSettings",
    "NotifySettings",
    "PagerDutySettings",
    "PolicySettings",
    "ProjectSettings",
    "QuietSettings",
    "RegistrySettings",
    "RiskSettings",
    "RouteSettings",
    "SecretReference",
    "SensorSettings",
    "ServerSettings",
    "Setting",
    "SlackSettings",
    "SpendSettings",
    "StandInSettings",
    "TeamsSettings",
    "TemporalSettings",
    "TemporalTlsSettings",
    "Thresholds",
    "ToolSettings",
    "UpstreamSettings",
    "WatchSettings",
    "WebhookSettings",
    "load_config",
    "read_secret",
]
