"""Facts about paths: what a file is, by where it stands."""

from __future__ import annotations

import posixpath
import unicodedata
from typing import TYPE_CHECKING, Any

import re2

from agentguard.facts._budget import UnparsedError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_LENGTH = 4096
_ODD_LENGTH, _ODD_DEPTH = 1024, 40
_INVISIBLE = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
_HOME = r"(?:~|/root|/home/[^/]+|/Users/[^/]+)"
_TEMPORARY = r"(?:/private)?/(?:tmp|var/tmp|dev/shm)"

# The first that matches is the class; those that do most harm stand first.
_CLASSES: tuple[tuple[str, str], ...] = (
    ("password_hash", r"/etc/(?:g?shadow|master\.passwd|security/opasswd)[-~]?|/etc/(?:g?shadow)\.[^/]+|.*/ntds\.dit"),
    ("account_file", r"/etc/(?:passwd|group|sudoers|subuid|subgid)[-~]?|/etc/sudoers\.d/.*|/etc/pam\.d/.*"),
    ("ssh_key", r".*/\.ssh/(?:id_[^/]*|authorized_keys2?|[^/]*_(?:rsa|dsa|ecdsa|ed25519)|[^/]*\.pem)|/etc/ssh/ssh_host_[^/]*_key|(?:.*/)?id_(?:rsa|dsa|ecdsa|ed25519)(?:_sk)?"),
    ("cloud_credential", r".*/\.aws/(?:credentials|config)|.*/\.config/gcloud(?:/.*)?|.*/application_default_credentials\.json|.*/\.azure(?:/.*)?|.*/\.kube/config|/etc/kubernetes/admin\.conf|.*/\.docker/config\.json|/var/run/secrets/.*|/run/secrets/.*|.*/\.oci/.*|.*/\.config/doctl/.*|.*/\.terraform\.d/credentials.*"),
    ("docker_socket", r"(?:/var)?/run/(?:docker|podman/podman|containerd/containerd|crio/crio)\.sock"),
    ("process_memory", r"/proc/(?:self|thread-self|[0-9]+)/(?:environ|mem|maps|root|cwd|fd|cmdline)(?:/.*)?|/proc/kcore|/dev/k?mem"),
    ("kernel", r"/boot(?:/.*)?|/lib/modules(?:/.*)?|/usr/lib/modules(?:/.*)?|/sys/kernel(?:/.*)?|/sys/firmware(?:/.*)?|/sys/fs/(?:cgroup|bpf)(?:/.*)?|/proc/sys(?:/.*)?|/proc/sysrq-trigger|/proc/k(?:allsyms|msg)|/etc/(?:sysctl\.conf|sysctl\.d/.*|modprobe\.d/.*|modules(?:-load\.d/.*)?)"),
    ("ordinary", r"/dev/(?:null|zero|full|u?random|tty|stdin|stdout|stderr|fd(?:/.*)?|ptmx|pts(?:/.*)?)"),
    ("temporary", _TEMPORARY + r"(?:/.*)?"),
    ("device", r"/dev(?:/.*)?"),
    ("log", r"/var/log(?:/.*)?|/var/audit(?:/.*)?|.*/\.(?:bash|zsh|sh|python|mysql|psql)_history|.*/\.local/share/fish/fish_history"),
    ("startup", _HOME + r"/\.(?:bashrc|bash_profile|bash_login|profile|zshrc|zprofile|zshenv|bash_logout)|" + _HOME + r"/\.config/(?:autostart|systemd)/.*|/etc/(?:profile(?:\.d/.*)?|bash\.bashrc|rc\.local|crontab|cron\.[^/]+/.*|cron\.d/.*|init\.d/.*|systemd/.*|ld\.so\.preload)|/var/spool/cron(?:/.*)?|(?:/usr)?/lib/systemd/.*"),
    ("secret_file", r"(?:.*/)?\.env(?:\.[^/]+)?|(?:.*/)?\.(?:netrc|pgpass|npmrc|pypirc|git-credentials|htpasswd|vault-token|my\.cnf)|(?:.*/)?[^/]*\.(?:pem|key|p12|pfx|keystore|jks|kdbx)|.*/\.(?:gnupg|password-store)(?:/.*)?|/etc/ssl/private(?:/.*)?|/etc/(?:krb5\.keytab|wireguard/.*)|.*/(?:Login Data|key4\.db|logins\.json|Cookies)"),
    ("sensitive_directory", r".*/\.ssh(?:/.*)?|.*/\.aws(?:/.*)?|.*/\.kube(?:/.*)?|/root(?:/.*)?|/etc/ssh(?:/.*)?|/etc/kubernetes(?:/.*)?|/var/lib/(?:kubelet|docker|etcd|postgresql|mysql)(?:/.*)?|/etc/?|/proc(?:/[0-9]+)?|/sys"),
    ("config", r"/etc/.*|/usr/local/etc/.*|(?:.*/)?\.git/(?:config|hooks/.*)|" + _HOME + r"/\.(?:gitconfig|config/.*)|/proc/.*|/sys/.*"),
)  # fmt: skip
_EXPORT = re2.compile(
    _TEMPORARY
    + r"/.*\.(?:csv|tsv|sql|dump|db|sqlite3?|parquet|avro|orc|jsonl|ndjson|xlsx?|bak|tar|tgz|gz|bz2|xz|zst|zip|7z)"
)
_HIDDEN = re2.compile(_TEMPORARY + r"/(?:.*/)?(?:\.[^/]+|[. ]+)(?:/.*)?")


def _compile() -> tuple[tuple[str, Any], ...]:
    options = re2.Options()
    options.dot_nl = True
    return tuple((name, re2.compile(pattern, options)) for name, pattern in _CLASSES)


_COMPILED = _compile()


def normalise(path: str) -> str:
    """Return the path in one form: no `.`, `..`, `//`, trailing slash; `~` where it names the home folder.

    Raises:
        UnparsedError: it is too long or holds a null.
    """
    if len(path) > MAX_LENGTH or "\0" in path or not path:
        raise UnparsedError("is no path")
    path = unicodedata.normalize("NFC", path)
    for home in ("$HOME", "${HOME}"):
        if path == home or path.startswith(f"{home}/"):
            path = f"~{path[len(home) :]}"
    plain = posixpath.normpath(path)
    if plain.startswith("//"):
        plain = plain[1:]
    # Another name of the same process or the same place.
    for alias in ("/proc/self/root", "/proc/thread-self/root", "/proc/1/root"):
        if plain.startswith(f"{alias}/"):
            plain = plain[len(alias) :]
    return plain


def path_class(path: str) -> str:
    """Return the class of a normalised path (see `path.class`)."""
    for name, pattern in _COMPILED:
        if pattern.fullmatch(path):
            return name
    return "ordinary"


def path_facts(text: str, access: str) -> Mapping[str, Any]:
    """Return the facts of one path.

    Raises:
        UnparsedError: it is none.
    """
    path = normalise(text)
    return {
        "path.value": (path,),
        "path.class": (path_class(path),),
        "path.access": (access,),
        "path.unusual": _is_unusual(text, path),
        "path.export": access == "write" and _EXPORT.fullmatch(path) is not None,
    }


def _is_unusual(text: str, path: str) -> bool:
    if len(path) > _ODD_LENGTH or path.count("/") > _ODD_DEPTH:
        return True
    if not text.isascii() and any(unicodedata.category(char) in _INVISIBLE for char in text):
        return True
    return not text.isprintable() or "/..." in path or _HIDDEN.fullmatch(path) is not None


def is_export(path: str) -> bool:
    """Tell whether a normalised path is a data file in a temporary folder."""
    return _EXPORT.fullmatch(path) is not None
