from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from agentguard.config import GatewaySettings, UpstreamSettings
from agentguard.core import ConfigError
from agentguard.gateway import Upstream, agent_variables, load_upstreams

if TYPE_CHECKING:
    from pathlib import Path


def load(folder: Path, name: str = "main", **changes: Any) -> Upstream:
    given: dict[str, Any] = {
        "kind": "openai",
        "base_url": "https://api.openai.com/v1/",
        "key": "env:KEY",
        "models": ("gpt-*",),
    }
    settings = GatewaySettings(upstreams={name: UpstreamSettings(**(given | changes))})
    (upstream,) = load_upstreams(settings, folder, {"KEY": "sk-secret", "BAD": "two words", "EMPTY": ""})
    return upstream


def private(folder: Path, content: bytes = b"sk-filed\n", mode: int = 0o600) -> str:
    path = folder / "openai.key"
    path.write_bytes(content)
    path.chmod(mode)
    return "file:openai.key"


def test_upstream_has_its_key_and_never_shows_it(tmp_path: Path) -> None:
    upstream = load(tmp_path)
    assert (upstream.key, upstream.base_url, upstream.provider) == (
        "sk-secret",
        "https://api.openai.com/v1",
        "openai",
    )
    assert "sk-secret" not in repr(upstream)
    assert (upstream.serves("gpt-5.4"), upstream.serves("o3")) == (True, False)


def test_key_can_stand_in_a_file_of_its_owner(tmp_path: Path) -> None:
    assert load(tmp_path, key=private(tmp_path)).key == "sk-filed"


@pytest.mark.parametrize("source", ["env:MISSING", "env:EMPTY", "env:BAD", "file:missing", "file:."])
def test_key_that_cannot_be_had_is_refused_without_showing_it(tmp_path: Path, source: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, key=source)
    assert refused.value.code == "upstream_key"
    assert "two words" not in str(refused.value)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_key_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(ConfigError, match="is not its owner's alone"):
        load(tmp_path, key=private(tmp_path, mode=mode))


def test_key_file_that_is_a_link_or_a_pipe_is_refused(tmp_path: Path) -> None:
    private(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "openai.key")
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("link", "pipe"):
        with pytest.raises(ConfigError):
            load(tmp_path, key=f"file:{name}")


@pytest.mark.parametrize(
    "url",
    [
        "http://api.openai.com/v1",
        "ftp://api.openai.com",
        "https://",
        "https://user:pass@api.openai.com",
        "https://api.openai.com/v1?x=1",
        "https://api.openai.com/v1#x",
        "https://api.openai.com/../v1",
        "https://api.openai.com:99999",
        "https://api.openai.com:0",
        "https://localhost/v1",
        "https://127.0.0.1/v1",
        "https://10.0.0.1/v1",
        "https://169.254.169.254/latest",
        "https://[::1]/v1",
        "https://[::ffff:10.0.0.1]/v1",
        "https://[fe80::1]/v1",
        "https://[64:ff9b::a00:1]/v1",
        "https://0.0.0.0/v1",
        "https://224.0.0.1/v1",
    ],
)
def test_address_that_may_not_be_dialled_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, base_url=url)
    assert refused.value.code == "upstream_invalid"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/v1", "https://10.0.0.1", "http://ollama.lan:11434/v1"]
)
def test_local_upstream_may_be_private_and_plain(tmp_path: Path, url: str) -> None:
    assert load(tmp_path, base_url=url, local=True).base_url == url


@pytest.mark.parametrize("name", ["", "a b", "ä", "x" * 65, "-a", "a/b"])
def test_upstream_whose_name_makes_no_resource_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError):
        load(tmp_path, name)


def test_agents_variables_send_sdks_to_the_gateway() -> None:
    assert agent_variables("http://127.0.0.1:8787/", "t") == {
        "OPENAI_BASE_URL": "http://127.0.0.1:8787/openai/v1",
        "OPENAI_API_KEY": "t",
        "AZURE_OPENAI_ENDPOINT": "http://127.0.0.1:8787",
        "AZURE_OPENAI_API_KEY": "t",
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:8787/anthropic",
        "ANTHROPIC_API_KEY": "t",
    }
    assert set(agent_variables("http://h", "t", kinds=["anthropic"])) == {
        "ANTHROPIC_BASE_URL",
        "ANTHROPIC_API_KEY",
    }
