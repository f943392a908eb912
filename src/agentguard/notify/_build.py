"""Channels from the settings, with their secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentguard.config import EmailSettings, PagerDutySettings, SlackSettings, TeamsSettings, read_secret
from agentguard.core import ConfigError
from agentguard.notify._email import Email
from agentguard.notify._pagerduty import PagerDuty
from agentguard.notify._slack import SlackApp, SlackWebhook
from agentguard.notify._teams import Teams
from agentguard.notify._webhook import Webhook

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from agentguard.config import ChannelSettings, NotifySettings
    from agentguard.notify._channel import Channel


def build_channels(settings: NotifySettings, folder: Path, environ: Mapping[str, str]) -> list[Channel]:
    """Return the project's channels.

    Raises:
        ConfigError: a secret is not where it should be (`notify_secret`).
    """
    return [_channel(name, each, folder, environ) for name, each in settings.channels.items()]


def _channel(name: str, settings: ChannelSettings, folder: Path, environ: Mapping[str, str]) -> Channel:
    def secret(reference: str) -> str:
        return channel_secret(reference, folder, environ, of=name)

    if isinstance(settings, SlackSettings):
        if settings.webhook is not None:
            return SlackWebhook(name, _address(secret(settings.webhook), name))
        assert settings.token is not None  # the settings were checked
        assert settings.channel is not None
        clicks = settings.signing_secret is not None
        return SlackApp(
            name, token=secret(settings.token), channel=settings.channel, api=settings.api, clicks=clicks
        )
    if isinstance(settings, EmailSettings):
        login = None
        if settings.username is not None and settings.password is not None:
            login = (settings.username, secret(settings.password))
        return Email(
            name,
            host=settings.host,
            port=settings.port,
            sender=settings.sender,
            recipients=settings.recipients,
            people=settings.people,
            security=settings.security,
            login=login,
            ca_file=str(folder / settings.ca_file) if settings.ca_file is not None else None,
        )
    if isinstance(settings, PagerDutySettings):
        return PagerDuty(name, routing_key=secret(settings.routing_key), url=settings.url)
    if isinstance(settings, TeamsSettings):
        return Teams(name, _address(secret(settings.webhook), name))
    return Webhook(name, url=settings.url, secret=secret(settings.secret))


def channel_secret(reference: str, folder: Path, environ: Mapping[str, str], *, of: str) -> str:
    """Return the secret of the channel `of`.

    Raises:
        ConfigError: it is not there or empty (`notify_secret`).
    """
    hint = "put it there, or correct `notify.channels`"
    return read_secret(reference, folder, environ, of=f"channel `{of}`", code="notify_secret", hint=hint)


def _address(text: str, name: str) -> str:
    if not text.startswith(("https://", "http://127.0.0.1:", "http://localhost:", "http://[::1]:")):
        raise ConfigError(
            f"the webhook of channel `{name}` is no https address", code="notify_secret", hint="copy it again"
        )
    return text
