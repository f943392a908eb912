"""What an agent's process needs in its environment, so that its SDKs call the gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


def agent_variables(
    sidecar_url: str, token: str, *, kinds: Collection[str] = ("openai", "azure", "anthropic")
) -> dict[str, str]:
    """Return the variables that send the SDKs of the given kinds of upstreams to the gateway, with the token as key.

    `sidecar_url` is `http://host:port`. They replace the provider's own keys, which the agent must not have.
    """
    url = sidecar_url.rstrip("/")
    variables: dict[str, str] = {}
    if "openai" in kinds or "azure" in kinds:
        variables |= {"OPENAI_BASE_URL": f"{url}/openai/v1", "OPENAI_API_KEY": token}
    if "azure" in kinds:
        variables |= {"AZURE_OPENAI_ENDPOINT": url, "AZURE_OPENAI_API_KEY": token}
    if "anthropic" in kinds:
        variables |= {"ANTHROPIC_BASE_URL": f"{url}/anthropic", "ANTHROPIC_API_KEY": token}
    return variables
