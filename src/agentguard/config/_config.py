"""The settings themselves: each section, and how file and environment become them."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_origin

import msgspec
from msgspec import Meta

from agentguard.config._approvals import ApprovalSettings, check_approvals
from agentguard.config._gateway import GatewaySettings
from agentguard.config._kernel import EgressSettings, SensorSettings
from agentguard.config._notify import NotifySettings, check_notify
from agentguard.core import ConfigError, Location
from agentguard.documents import read

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agentguard.documents import Document

FILE_NAME = "agentguard.yaml"
_PREFIX = "AGENTGUARD_"
# No setting: it names the project's folder for the command line.
FOLDER_VARIABLE = "AGENTGUARD_PROJECT"

_Text = Annotated[str, Meta(min_length=1, max_length=1024)]
_Threshold = Annotated[int, Meta(ge=1, le=17)]


class ProjectSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which project this is."""

    id: Annotated[
        str,
        Meta(
            pattern=r"^[a-z0-9][a-z0-9-]{2,63}\Z",
            description="stable name of the project's state folder; made by `agentguard init`",
        ),
    ]
    name: Annotated[str, Meta(max_length=200, description="what people call the project")] = ""


class ServerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The sidecar's HTTP server."""

    host: Annotated[_Text, Meta(description="address to listen on")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535, description="TCP port to listen on")] = 8787
    max_body_bytes: Annotated[
        int, Meta(ge=1024, le=64 * 1024 * 1024, description="largest request body, in bytes")
    ] = 262_144
    read_timeout_s: Annotated[
        float, Meta(gt=0, le=300, description="seconds within which a client has to send its request")
    ] = 10.0
    allowed_hosts: Annotated[
        tuple[_Text, ...], Meta(min_length=1, description="host names that a request may be addressed to")
    ] = ("127.0.0.1", "localhost", "[::1]")


class AuditSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The audit log."""

    folder: Annotated[_Text, Meta(description="folder of the log's segments")] = "audit"
    durability: Annotated[
        Literal["os", "group", "record"],
        Meta(description="when a record counts as written: the system has it, a shared sync, a sync each"),
    ] = "os"
    max_segment_bytes: Annotated[
        int, Meta(ge=65_536, le=16 * 1024**3, description="size at which the next segment is begun, in bytes")
    ] = 67_108_864
    reserve_bytes: Annotated[
        int, Meta(ge=0, le=1024**4, description="free disk space below which everything is denied, in bytes")
    ] = 16_777_216


class PolicySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The rules."""

    folder: Annotated[_Text, Meta(description="folder of the rule files")] = "policies"
    strict: Annotated[bool, Meta(description="refuse a policy whose rules conflict, not only warn")] = False
    shipped: Annotated[bool, Meta(description="hold the rules that ship with the package too")] = True
    without: Annotated[tuple[_Text, ...], Meta(description="ids of shipped rules that are left out")] = ()


class FactsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What facts about arguments have to know of the project."""

    allowed_hosts: Annotated[
        tuple[_Text, ...],
        Meta(description="hosts that need no approval: names with their subdomains, `=name` alone, CIDR"),
    ] = ()
    mail_domains: Annotated[
        tuple[_Text, ...], Meta(description="the project's own mail domains; mail to others is external")
    ] = ()


class RegistrySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What can be done, and to what."""

    actions: Annotated[_Text, Meta(description="folder of the project's own action files")] = "actions"
    inventory: Annotated[_Text, Meta(description="file of resources and principals")] = "inventory.yaml"
    catalogue: Annotated[bool, Meta(description="know the actions of the shipped catalogue too")] = True


class Thresholds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From which risk score (1 to 16) an effect is called for; 17 means never."""

    approval_from: Annotated[_Threshold, Meta(description="lowest score that needs an approval")]
    deny_from: Annotated[_Threshold, Meta(description="lowest score that is denied")]


class RiskSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Thresholds of the risk score, action risk (1-4) x resource sensitivity (1-4)."""

    approval_from: Annotated[
        _Threshold, Meta(description="lowest risk score that needs an approval; 17 means never")
    ] = 9
    deny_from: Annotated[_Threshold, Meta(description="lowest risk score that is denied; 17 means never")] = (
        16
    )
    environments: Annotated[
        dict[str, Thresholds], Meta(description="thresholds of single environments, by name")
    ] = {}

    def thresholds(self, environment: str) -> Thresholds:
        """Return the thresholds that hold in `environment`."""
        own = self.environments.get(environment)
        return own if own is not None else Thresholds(self.approval_from, self.deny_from)


class IdentitySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tokens and tickets."""

    token_ttl_s: Annotated[
        int,
        Meta(ge=1, le=86_400, description="how long an issued token lives unless told otherwise, in seconds"),
    ] = 3600
    hs256: Annotated[
        bool, Meta(description="sign tokens with a shared secret (HS256) in place of a key pair (Ed25519)")
    ] = False
    audience: Annotated[_Text, Meta(description="the `aud` claim that tokens carry and must carry")] = (
        "agentguard"
    )
    ticket_ttl_s: Annotated[
        int, Meta(ge=1, le=60, description="how long an execution ticket lives, in seconds")
    ] = 60


class ClientSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Clients of the sidecar."""

    deadline_s: Annotated[
        float, Meta(gt=0, le=60, description="seconds after which an unanswered check is a deny")
    ] = 2.0


class EventSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What happened, as the kernel and other layers saw it; decisions are in the audit log."""

    folder: Annotated[_Text, Meta(description="folder of the event store")] = "events"
    retention_days: Annotated[int, Meta(ge=1, le=3650, description="how long events are kept, in days")] = 30
    max_events: Annotated[
        int,
        Meta(ge=1_000, le=1_000_000_000, description="how many events are kept at most; the oldest go first"),
    ] = 1_000_000


class SpendSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What model calls and actions cost, and may cost."""

    budgets: Annotated[_Text, Meta(description="file of budgets, own prices and names of models")] = (
        "budgets.yaml"
    )
    prices: Annotated[
        _Text, Meta(description="price list in place of the shipped one, if there is such a file")
    ] = "prices.json"
    folder: Annotated[_Text, Meta(description="folder of the ledger")] = "spend"
    organisation: Annotated[
        str, Meta(max_length=200, description="whose budgets of scope `organisation` hold for this project")
    ] = ""
    reservation_ttl_s: Annotated[
        int,
        Meta(
            ge=1, le=86_400, description="after so many seconds a reservation without a bill is booked whole"
        ),
    ] = 900
    max_output_tokens: Annotated[
        int,
        Meta(
            ge=64,
            le=10_000_000,
            description="output limit that a call gets that has none, for a model whose maximum is not known",
        ),
    ] = 16_384
    retention_days: Annotated[
        int, Meta(ge=100, le=3650, description="how long the history of calls is kept, in days")
    ] = 400


class LogSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Diagnostic messages; the audit log is another thing."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="least severity that is logged")
    ] = "info"


class _Sections(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file may hold."""

    project: ProjectSettings
    server: ServerSettings = ServerSettings()
    audit: AuditSettings = AuditSettings()
    policy: PolicySettings = PolicySettings()
    facts: FactsSettings = FactsSettings()
    registry: RegistrySettings = RegistrySettings()
    risk: RiskSettings = RiskSettings()
    identity: IdentitySettings = IdentitySettings()
    client: ClientSettings = ClientSettings()
    events: EventSettings = EventSettings()
    spend: SpendSettings = SpendSettings()
    gateway: GatewaySettings = GatewaySettings()
    approvals: ApprovalSettings = ApprovalSettings()
    egress: EgressSettings = EgressSettings()
    sensor: SensorSettings = SensorSettings()
    notify: NotifySettings = NotifySettings()
    log: LogSettings = LogSettings()


class Setting(msgspec.Struct, frozen=True):
    """One setting, for the reference: `default` is None where there is none and a value must be given."""

    section: str
    key: str
    type: str
    default: Any
    required: bool
    description: str
    variable: str | None


class Config(_Sections, frozen=True, kw_only=True):
    """All settings of the project in `folder` (absolute); paths in the file are relative to it."""

    folder: Path

    @property
    def audit_folder(self) -> Path:
        """Where the audit log's segments are."""
        return self.folder / self.audit.folder

    @property
    def events_file(self) -> Path:
        """Where the event store is."""
        return self.folder / self.events.folder / "events.sqlite"

    @property
    def budgets_file(self) -> Path:
        """Where budgets, own prices and names of models are, if there are any."""
        return self.folder / self.spend.budgets

    @property
    def prices_file(self) -> Path:
        """Where the project's own price list is, if it has one."""
        return self.folder / self.spend.prices

    @property
    def ledger_file(self) -> Path:
        """Where it is kept what was reserved and booked."""
        return self.folder / self.spend.folder / "ledger.sqlite"

    @property
    def approvals_file(self) -> Path:
        """Where the approvals are."""
        return self.folder / self.approvals.folder / "approvals.sqlite"

    @property
    def notify_folder(self) -> Path:
        """Where templates of one's own are, and what waits to be delivered."""
        return self.folder / self.notify.folder

    @property
    def policy_folder(self) -> Path:
        """Where the rule files are."""
        return self.folder / self.policy.folder

    @property
    def actions_folder(self) -> Path:
        """Where the project's own action files are."""
        return self.folder / self.registry.actions

    @property
    def inventory_file(self) -> Path:
        """Where resources and principals are listed."""
        return self.folder / self.registry.inventory

    @staticmethod
    def settings() -> list[Setting]:
        """Return every setting there is, in the order of the file."""
        return [_describe(section, field) for section, field in _fields()]


def load_config(project: Path, environ: Mapping[str, str]) -> Config:
    """Return the settings of the project folder, the environment's overrides included.

    Raises:
        ConfigError: there is no `agentguard.yaml` (`config_missing`), a variable is unknown or has no usable
            value (`config_variable`), or two settings contradict each other.
        DocumentError: the file cannot be read or does not have the declared shape.
    """
    folder = project.absolute()
    path = folder / FILE_NAME
    if not path.is_file():
        raise ConfigError(
            f"no `{FILE_NAME}` in `{project}`", code="config_missing", hint="make one with `agentguard init`"
        )
    document = read(path, name=FILE_NAME)
    sections = _override(document.convert(_Sections), environ)
    _check_thresholds(sections.risk, document)
    check_approvals(sections.approvals, document)
    check_notify(sections.notify, document)
    return Config(folder=folder, **{name: getattr(sections, name) for name in _Sections.__struct_fields__})


def _override(sections: _Sections, environ: Mapping[str, str]) -> _Sections:
    known = {_variable(section, field.name): (section, field) for section, field in _fields()}
    changes: dict[str, dict[str, Any]] = {}
    for variable in sorted(environ):
        if variable in known:
            section, field = known[variable]
            value = _read_variable(variable, environ[variable], field.type)
            changes.setdefault(section, {})[field.name] = value
        else:
            _refuse_near_variable(variable, known)
    replaced = {
        section: msgspec.structs.replace(getattr(sections, section), **values)
        for section, values in changes.items()
    }
    return msgspec.structs.replace(sections, **replaced)


def _refuse_near_variable(variable: str, known: Mapping[str, object]) -> None:
    """Raise if an unknown variable names one of our sections; the others belong to somebody else."""
    section = variable.removeprefix(_PREFIX).partition("_")[0].lower()
    if not variable.startswith(_PREFIX) or section not in _Sections.__struct_fields__:
        return
    if variable == FOLDER_VARIABLE:
        return
    near = difflib.get_close_matches(variable, known, n=1, cutoff=0.0)[0]
    raise _variable_error(variable, "unknown setting in the environment", f"did you mean `{near}`")


def _read_variable(variable: str, text: str, annotation: Any) -> Any:
    kind = _bare(annotation)
    if get_origin(kind) is dict:
        raise _variable_error(
            variable, "cannot be set from the environment", f"write it in `{FILE_NAME}`, unset the variable"
        )
    value = [part.strip() for part in text.split(",")] if get_origin(kind) is tuple else text
    try:
        return msgspec.convert(value, annotation, strict=False)
    except msgspec.ValidationError as error:
        message = str(error).partition(" - at `")[0]
        hint = f"it takes: {_type_text(msgspec.json.schema(annotation))}"
        raise _variable_error(variable, message[:1].lower() + message[1:], hint) from None


def _variable_error(variable: str, message: str, hint: str) -> ConfigError:
    return ConfigError(message, code="config_variable", location=Location(variable), hint=hint)


def _check_thresholds(risk: RiskSettings, document: Document) -> None:
    """Refuse thresholds that would deny what is below the one for approval."""
    if risk.approval_from > risk.deny_from:
        raise _thresholds_error(document, "risk", "deny_from")
    for name, thresholds in risk.environments.items():
        if thresholds.approval_from > thresholds.deny_from:
            raise _thresholds_error(document, "risk", "environments", name, "deny_from")


def _thresholds_error(document: Document, *field: str) -> ConfigError:
    return document.error(
        "`deny_from` is below `approval_from`",
        *field,
        hint="an approval is asked for below a denial, or never (17)",
    )


def _fields() -> Iterator[tuple[str, msgspec.structs.FieldInfo]]:
    for section in msgspec.structs.fields(_Sections):
        for field in msgspec.structs.fields(section.type):
            yield section.name, field


def _variable(section: str, key: str) -> str:
    return f"{_PREFIX}{section}_{key}".upper()


def _bare(annotation: Any) -> Any:
    return annotation.__origin__ if hasattr(annotation, "__metadata__") else annotation


def _describe(section: str, field: msgspec.structs.FieldInfo) -> Setting:
    schema = msgspec.json.schema(field.type, ref_template="{name}")
    default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    required = default is msgspec.NODEFAULT
    mapping = get_origin(_bare(field.type)) is dict or _type_text(schema) == "mapping"
    return Setting(
        section=section,
        key=field.name,
        type=_type_text(schema),
        default=None if required else default,
        required=required,
        description=schema["description"],
        variable=None if mapping else _variable(section, field.name),
    )


def _type_text(schema: Mapping[str, Any]) -> str:
    """Return what may be written, in words: `integer, 1 to 65535`, `one of os, group, record`."""
    if "anyOf" in schema:
        # What may be left out is described as what it is when it is given.
        schema = next(each for each in schema["anyOf"] if each.get("type") != "null")
    if "$ref" in schema:
        return "mapping"
    if "enum" in schema:
        return f"one of {', '.join(sorted(schema['enum']))}"
    kind = {"array": "list of texts", "object": "mapping", "string": "text"}.get(
        schema["type"], schema["type"]
    )
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    if low is None:
        return str(kind)
    word = "above " if "exclusiveMinimum" in schema else ""
    return f"{kind}, {word}{low} to {schema['maximum']}"
