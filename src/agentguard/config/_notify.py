"""The section `notify`: who is told what, over which channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta

from agentguard.config._secret import SecretReference
from agentguard.core import Severity

if TYPE_CHECKING:
    from agentguard.documents import Document

_Text = Annotated[str, Meta(min_length=1, max_length=1024)]
_Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,63}\Z")]
_Url = Annotated[str, Meta(pattern=r"^https?://[^\s@]{1,1000}\Z")]
_Time = Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]\Z")]


class _Channel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", kw_only=True):
    """One way to people."""


class SlackSettings(_Channel, frozen=True, tag="slack", kw_only=True):
    """Slack: an incoming webhook, or an app that posts with a token to a channel and takes clicks on its buttons."""

    webhook: Annotated[SecretReference | None, Meta(description="the webhook's address")] = None
    token: Annotated[SecretReference | None, Meta(description="the app's bot token")] = None
    channel: Annotated[_Text | None, Meta(description="the channel's id that the app posts to")] = None
    signing_secret: Annotated[
        SecretReference | None, Meta(description="what Slack signs clicks on buttons with")
    ] = None
    people: Annotated[
        dict[str, _Text], Meta(description="who is who: the name of a person by their Slack user id")
    ] = {}
    api: Annotated[_Url, Meta(description="Slack's API")] = "https://slack.com/api"


class EmailSettings(_Channel, frozen=True, tag="email", kw_only=True):
    """Mail over SMTP."""

    host: Annotated[_Text, Meta(description="the mail server")]
    port: Annotated[int, Meta(ge=1, le=65_535, description="its port")] = 587
    security: Annotated[
        Literal["starttls", "tls", "none"],
        Meta(description="how the connection is protected; `none` only on this machine"),
    ] = "starttls"
    username: Annotated[_Text | None, Meta(description="who logs in there")] = None
    password: Annotated[SecretReference | None, Meta(description="with which password")] = None
    ca_file: Annotated[_Text | None, Meta(description="certificates to trust, beside the system's")] = None
    sender: Annotated[_Text, Meta(description="the address in From")]
    recipients: Annotated[tuple[_Text, ...], Meta(description="who gets what is for everybody")] = ()
    people: Annotated[dict[str, _Text], Meta(description="the addresses of people, by their names")] = {}


class PagerDutySettings(_Channel, frozen=True, tag="pagerduty", kw_only=True):
    """PagerDuty's Events API v2."""

    routing_key: Annotated[SecretReference, Meta(description="the integration key of the service")]
    url: Annotated[_Url, Meta(description="where events go")] = "https://events.pagerduty.com/v2/enqueue"


class TeamsSettings(_Channel, frozen=True, tag="teams", kw_only=True):
    """Microsoft Teams: a workflow that posts to a channel when it gets a webhook request."""

    webhook: Annotated[SecretReference, Meta(description="the workflow's address")]


class WebhookSettings(_Channel, frozen=True, tag="webhook", kw_only=True):
    """Any program: the notice as JSON, signed."""

    url: Annotated[_Url, Meta(description="where it is posted")]
    secret: Annotated[SecretReference, Meta(description="what it is signed with, as `whsec_…`")]


ChannelSettings = SlackSettings | EmailSettings | PagerDutySettings | TeamsSettings | WebhookSettings


class QuietSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When only what is critical is told at once; the rest waits until the end."""

    since: Annotated[_Time, Meta(description="from this time of the day, as 22:00")]
    until: Annotated[_Time, Meta(description="until this one, as 07:00")]
    tz: Annotated[_Text, Meta(description="time zone")] = "UTC"


class NotifySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is told what."""

    channels: Annotated[dict[_Name, ChannelSettings], Meta(description="ways to people, by name")] = {}
    routes: Annotated[
        dict[Severity, tuple[_Name, ...]],
        Meta(
            description="channels for each severity; left out, critical goes everywhere, high to Slack, Teams and mail,"
            " medium to mail"
        ),
    ] = {}
    quiet: Annotated[QuietSettings | None, Meta(description="quiet hours: `{since, until, tz}`")] = None
    public_url: Annotated[
        _Url | None, Meta(description="where people reach the page; left out, the sidecar's own address")
    ] = None
    folder: Annotated[_Text, Meta(description="folder of templates of one's own, and of what waits")] = (
        "notify"
    )
    give_up_after_s: Annotated[
        float, Meta(ge=1, le=30 * 86_400, description="how long a delivery is tried, in seconds")
    ] = 86_400.0
    repeat_after_s: Annotated[
        float,
        Meta(
            ge=0, le=86_400, description="the same alert is told again after so many seconds at the earliest"
        ),
    ] = 300.0
    link_ttl_s: Annotated[
        float,
        Meta(ge=60, le=30 * 86_400, description="how long a link to decide is good at most, in seconds"),
    ] = 86_400.0


def check_notify(notify: NotifySettings, document: Document) -> None:
    """Refuse channels and routes that cannot work.

    Raises:
        DocumentError: says which, and how to mend it.
    """
    for name, channel in notify.channels.items():
        _check_channel(channel, document, ("notify", "channels", name))
    for severity, names in notify.routes.items():
        for number, name in enumerate(names):
            if name not in notify.channels:
                field = ("notify", "routes", severity.value, number)
                raise document.error(
                    f"there is no channel `{name}`", *field, hint="name one of `notify.channels`"
                )
    if notify.quiet is not None:
        try:
            ZoneInfo(notify.quiet.tz)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise document.error(
                f"there is no time zone `{notify.quiet.tz}`",
                "notify",
                "quiet",
                "tz",
                hint="write it as Europe/Berlin",
            ) from None


def _check_channel(channel: ChannelSettings, document: Document, field: tuple[str, ...]) -> None:
    if isinstance(channel, SlackSettings):
        by_app = channel.token is not None
        if by_app == (channel.webhook is not None):
            raise document.error(
                "give either `webhook` or `token`", *field, hint="a token is that of a Slack app"
            )
        if by_app and channel.channel is None:
            raise document.error(
                "an app posts to a channel", *field, hint="give `channel` with the channel's id"
            )
    elif isinstance(channel, EmailSettings):
        if not channel.recipients and not channel.people:
            raise document.error("nobody gets this mail", *field, hint="give `recipients` or `people`")
        if channel.security == "none" and channel.host not in {"localhost", "127.0.0.1", "::1"}:
            raise document.error(
                "mail would go unprotected", *field, "security", hint="use `starttls` or `tls`"
            )
        if (channel.username is None) != (channel.password is None):
            raise document.error("`username` and `password` go together", *field, hint="give both or none")
