"""Profiles: what kinds of agents need to do their work, and what holds secrets wherever it stands.

A profile is added to the policy. Nothing in it overrides a mandatory rule, and the home folder is never allowed as a
whole: what is not named here or in a rule is shut.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SYSTEM = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix", "/snap", "/etc/alternatives",
    "/home/linuxbrew/.linuxbrew",
)  # fmt: skip
_READ = (
    "/etc", "/proc", "/sys/devices/system", "/sys/fs/cgroup", "/sys/kernel/mm/transparent_hugepage",
    "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager/resolv.conf", "/var/lib/dpkg",
    "/var/lib/ca-certificates", "/var/cache/fontconfig",
)  # fmt: skip
_DEVICES = (
    "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx", "/dev/pts",
)  # fmt: skip
_TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - named, not used
_PYTHON = (".pyenv", ".local/bin", ".local/lib", ".local/share/uv", ".local/share/pipx", ".conda", "miniconda3",
           "anaconda3", "miniforge3", ".virtualenvs", ".venv")  # fmt: skip
_NODE = (
    ".nvm",
    ".volta",
    ".fnm",
    ".local/share/fnm",
    ".bun/bin",
    ".deno/bin",
    ".config/yarn",
    ".config/pnpm",
)
_TOOLS = (
    *_PYTHON, *_NODE, ".rbenv", ".rustup", ".cargo", ".asdf", ".sdkman", ".gem", "go", ".dotnet", ".gitconfig",
    ".gitignore", ".gitignore_global", ".config/git", ".config/pip", ".pip", ".config/uv", ".editorconfig",
    ".terminfo", ".condarc", ".inputrc", ".mise", ".local/share/mise",
)  # fmt: skip
_CACHES = (
    ".cache", ".npm", ".cargo/registry", ".cargo/git", ".pnpm-store", ".local/share/pnpm", ".yarn", ".gradle",
    ".m2/repository", "go/pkg", ".nuget", ".bun/install", ".node-gyp", ".ccache", ".deno",
)  # fmt: skip
# What coding agents keep of their own.
_AGENTS = (
    ".claude",
    ".claude.json",
    ".codex",
    ".gemini",
    ".aider",
    ".config/opencode",
    ".local/share/opencode",
)
_GPUS = ("/dev/nvidia*", "/dev/dri", "/dev/kfd")

# Beneath each home folder. What is there and what not is looked at when a run begins.
_SECRETS_AT_HOME = (
    ".ssh", ".gnupg", ".password-store", ".aws", ".azure", ".config/gcloud", ".kube", ".docker", ".oci",
    ".config/doctl", ".terraform.d", ".config/gh", ".config/hub", ".config/glab-cli", ".config/op", ".vault-token",
    ".netrc", ".pgpass", ".my.cnf", ".npmrc", ".yarnrc.yml", ".pypirc", ".git-credentials", ".config/git/credentials",
    ".cargo/credentials", ".cargo/credentials.toml", ".config/pip/pip.conf", ".pip/pip.conf", ".m2/settings.xml",
    ".gem/credentials", ".cache/huggingface/token", ".huggingface", ".config/rclone", ".s3cfg", ".boto",
    ".local/share/keyrings", ".env", ".bash_history", ".zsh_history", ".sh_history", ".python_history",
    ".node_repl_history", ".psql_history", ".mysql_history", ".sqlite_history", ".local/share/fish/fish_history",
    ".mozilla", ".config/google-chrome", ".config/chromium", ".config/BraveSoftware", ".config/microsoft-edge",
    ".config/vivaldi", ".config/opera", "snap/firefox", "snap/chromium", ".thunderbird", ".config/Signal",
)  # fmt: skip
_SECRETS = (
    "/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/sudoers", "/etc/sudoers.d",
    "/etc/security/opasswd", "/etc/ssl/private", "/etc/krb5.keytab", "/etc/wireguard", "/etc/kubernetes",
    "/etc/ssh/ssh_host_*_key", "/etc/NetworkManager/system-connections", "/etc/docker/key.json", "/etc/pki/tls/private",
    "/etc/letsencrypt", "/run/docker.sock", "/run/containerd", "/run/podman", "/run/crio", "/run/buildkit",
    "/run/secrets", "/var/lib/docker", "/var/lib/kubelet", "/var/lib/postgresql", "/var/lib/mysql", "/var/lib/etcd",
    "/var/spool/cron", "/boot", "/proc/kcore", "/proc/sysrq-trigger",
)  # fmt: skip


class Profile(msgspec.Struct, frozen=True):
    """What one kind of agent needs. Paths without a slash at the beginning are beneath the home folder.

    `run` is read and executed, `read` only read, `write` changed and executed as well; `network`: whether there is a
    loopback and whether `--allow-domain` may open more.
    """

    name: str
    about: str
    run: tuple[str, ...]
    read: tuple[str, ...]
    write: tuple[str, ...]
    network: bool = True


_ALL = (
    Profile(
        "coding-agent", "git, package managers, compilers and tests in one project folder",
        run=(*_SYSTEM, *_TOOLS), read=_READ, write=(*_DEVICES, *_TEMPORARY, *_CACHES, *_AGENTS),
    ),
    Profile(
        "data-analyst", "Python and notebooks over the files of one folder",
        run=(*_SYSTEM, *_PYTHON), read=_READ,
        write=(*_DEVICES, *_TEMPORARY, *_GPUS, ".cache", ".ipython", ".jupyter", ".config/matplotlib",
               ".local/share/jupyter"),
    ),
    Profile(
        "browser", "a browser that is driven by an agent, with a profile of its own",
        run=(*_SYSTEM, *_PYTHON, *_NODE), read=(*_READ, "/sys/devices"),
        write=(*_DEVICES, *_TEMPORARY, ".cache", ".npm", ".config/fontconfig"),
    ),
    Profile(
        "offline", "ordinary programs in one folder, without any network",
        run=(*_SYSTEM, *_PYTHON, *_NODE), read=_READ, write=(*_DEVICES, *_TEMPORARY), network=False,
    ),
)  # fmt: skip
PROFILES: Mapping[str, Profile] = {each.name: each for each in _ALL}
DEFAULT_PROFILE = "coding-agent"


def find_profile(name: str) -> Profile:
    """Return the profile of that name.

    Raises:
        ConfigError: there is none.
    """
    found = PROFILES.get(name)
    if found is None:
        raise ConfigError(f"there is no profile `{name}`", hint=f"one of {', '.join(PROFILES)}")
    return found


def places(paths: tuple[str, ...], home: str) -> Iterator[str]:
    """Yield the paths that are there, patterns expanded; of those at home only if there is a home."""
    for each in paths:
        if not each.startswith("/") and not home:
            continue
        path = each if each.startswith("/") else f"{home}/{each}"
        if "*" in path:
            yield from sorted(map(str, Path("/").glob(path[1:])))
        elif os.path.lexists(path):
            yield path


def secrets(home: str) -> list[str]:
    """Return what holds secrets on this machine: the system's, this user's and, as root, every user's."""
    homes = [home] if home else []
    if os.geteuid() == 0:
        homes += ["/root", *sorted(map(str, Path("/home").glob("*")))]
    found = [*places(_SECRETS, home)]
    for each in dict.fromkeys(homes):
        found += places(_SECRETS_AT_HOME, each)
    return found


def program_folders(path_variable: str, home: str) -> list[str]:
    """Return the folders in which programs are looked for, with the installation around each `bin` at home."""
    found = []
    for each in path_variable.split(os.pathsep):
        if not each.startswith("/") or each in {"/", home}:
            continue
        found.append(each)
        above = os.path.dirname(each)  # noqa: PTH120 - a text, as they come
        if os.path.basename(each) == "bin" and above not in {"/", home, f"{home}/.local"}:  # noqa: PTH119 - as above
            found.append(above)
    return found
