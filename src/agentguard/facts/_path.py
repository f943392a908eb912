"""Facts about paths: what a file is, by where it stands."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import re2

from agentguard.facts._budget import UnparsedError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_LENGTH = 4096
_ODD_LENGTH, _ODD_DEPTH = 1024, 40
_INVISIBLE = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
_HOME = r"(?:~|/root|/home/[^/]+|(?:[A-Za-z]:)?/Users/[^/]+)"
_TEMPORARY = r"(?:/private)?/(?:tmp|var/tmp|dev/shm)"

# The first that matches is the class; those that do most harm stand first.
_CLASSES: tuple[tuple[str, str], ...] = (
    ("sensitive_directory", r"(?:.*/)?\.ssh/[^/]*\.pub"),
    ("password_hash", r"/etc/(?:g?shadow|master\.passwd|security/opasswd)[-~]?|/etc/(?:g?shadow)\.[^/]+|/etc/\.g?shadow\.sw.|.*/ntds\.dit"),
    ("account_file", r"/etc/(?:passwd|group|sudoers|subuid|subgid)[-~]?|/etc/sudoers\.d/.*|/etc/pam\.d/.*"),
    ("ssh_key", r"(?:.*/)?\.ssh/(?:id_[^/]*|authorized_keys2?|[^/]*_(?:rsa|dsa|ecdsa|ed25519)|[^/]*\.pem|[^/]*key)|/etc/ssh/ssh_host_[^/]*_key|(?:.*/)?id_(?:rsa|dsa|ecdsa|ed25519)(?:_sk)?"),
    ("cloud_credential", r"(?:.*/)?(?:\.aws/(?:credentials|config)|\.config/gcloud(?:/.*)?|application_default_credentials\.json|\.azure(?:/.*)?|\.kube/config|\.docker/config\.json|\.oci/.*|\.config/doctl/.*|\.terraform\.d/credentials.*)|/etc/kubernetes/admin\.conf|(?:/var)?/run/secrets/.*"),
    ("docker_socket", r"(?:.*/)?(?:docker(?:\.raw)?|podman|containerd|cri-?o|cri-dockerd|buildkitd)\.sock"),
    ("process_memory", r"/proc/(?:self|thread-self|[0-9]+)(?:/task/[0-9]+)?/(?:environ|mem|maps|smaps|pagemap|auxv|root|cwd|fd|cmdline)(?:/.*)?|/proc/(?:kcore|kpage.*)|/dev/(?:k?mem|port)"),
    ("kernel_setting", r"/sys/kernel/mm(?:/.*)?|/sys/fs/cgroup(?:/.*)?|/proc/sys(?:/.*)?|(?:/usr)?/lib/modules(?:/.*)?|/etc/(?:sysctl\.conf|sysctl\.d/.*|modprobe\.d/.*|modules(?:-load\.d/.*)?)"),
    ("kernel", r"/boot(?:/.*)?|/sys/(?:kernel|firmware|fs/bpf)(?:/.*)?|/proc/sysrq-trigger|/proc/k(?:allsyms|msg)"),
    ("ordinary", r"/dev/(?:null|zero|full|u?random|tty|stdin|stdout|stderr|fd(?:/.*)?|ptmx|pts(?:/.*)?)|/dev|(?:.*/)?\.env\.(?:example|sample|template|dist)"),
    ("temporary", _TEMPORARY + r"(?:/.*)?"),
    ("device", r"/dev/.*"),
    ("log", r"(?:/var|/run|/var/run)/log(?:/.*)?|/var/audit(?:/.*)?|.*/\.(?:bash|zsh|sh|python|mysql|psql)_history|.*/\.local/share/fish/fish_history"),
    ("startup", _HOME + r"/\.(?:bashrc|bash_profile|bash_login|profile|zshrc|zprofile|zshenv|bash_logout)|" + _HOME + r"/\.config/(?:autostart|systemd)/.*|/etc/(?:profile(?:\.d/.*)?|bash\.bashrc|rc\.local|crontab|cron\.[^/]+/.*|cron\.d/.*|init\.d/.*|systemd/.*|ld\.so\.preload)|/var/spool/cron(?:/.*)?|(?:/usr)?/lib/systemd/.*"),
    ("secret_file", r"(?:.*/)?\.env(?:\.[^/]+)?|(?:.*/)?\.(?:netrc|pgpass|npmrc|pypirc|git-credentials|htpasswd|vault-token|my\.cnf)|(?:.*/)?[^/]*\.(?:pem|key|p12|pfx|keystore|jks|kdbx)|.*/\.(?:gnupg|password-store)(?:/.*)?|/etc/ssl/private(?:/.*)?|/etc/(?:krb5\.keytab|wireguard/.*)|.*/(?:Login Data|key4\.db|logins\.json|Cookies)"),
    ("sensitive_directory", r"(?:.*/)?\.(?:ssh|aws|kube)(?:/.*)?|/root(?:/.*)?|/etc/ssh(?:/.*)?|/etc/kubernetes(?:/.*)?|/var/lib/(?:kubelet|docker|etcd|postgresql|mysql)(?:/.*)?|/etc/?|/proc(?:/[0-9]+)?|/sys"),
    ("config", r"/etc/.*|(?:/usr)?/(?:s?bin|lib(?:32|64)?)/.*|/usr/local/etc/.*|(?:.*/)?\.git/(?:config|hooks/.*)|" + _HOME + r"/\.(?:gitconfig|config/.*)|/proc/.*|/sys/.*"),
)  # fmt: skip
_EXPORT = re2.compile(
    _TEMPORARY
    + r"/.*\.(?:csv|tsv|sql|dump|db|sqlite3?|parquet|avro|orc|jsonl|ndjson|xlsx?|bak|tar|tgz|gz|bz2|xz|zst|zip|7z)"
)
_HIDDEN = re2.compile(_TEMPORARY + r"/(?:.*/)?(?:\.[^/]+|[. ]+)(?:/.*)?")


_DRIVE = re.compile(r"[A-Za-z]:\\")
_OTHER_HOME = re.compile(r"~([A-Za-z_][\w-]*)(?=/|$)", re.ASCII)
_ABOVE_FOLDER = re.compile(
    r"(/proc/+(?:\./+)*(?:self|thread-self|[0-9]+)/+(?:\./+)*(?:cwd|fd/+[0-9]+))/+(?:\./+)*\.\.(?=/|$)"
)
_UP = re.compile(r"(?:\.\./)+")
_NOWHERE_ELSE = frozenset(("password_hash", "account_file", "docker_socket", "process_memory"))
_PATTERN = re.compile(r"[*?\[]")
_SET = re.compile(r"\[[^\]/]+\]")
# What patterns of a shell are tried on.
_EXAMPLES = tuple(
    tuple(each.split("/"))
    for each in (
        "/etc/shadow", "/etc/gshadow", "/etc/passwd", "/etc/sudoers", "/etc/sudoers.d/a", "/etc/crontab", "/root/.bashrc",
        "~/.ssh/id_rsa", "~/.ssh/id_ed25519", "~/.ssh/authorized_keys", "~/.aws/credentials", "~/.kube/config",
        "/root/.ssh/id_rsa", "/root/.ssh/id_ed25519", "/root/.ssh/authorized_keys", "/root/.aws/credentials", "/root/.kube/config",
        "/home/ann/.ssh/id_rsa", "/home/ann/.ssh/id_ed25519", "/home/ann/.ssh/authorized_keys", "/home/ann/.aws/credentials", "/home/ann/.kube/config",
        "/run/docker.sock", "/var/run/docker.sock", "/proc/1/environ", "/proc/self/environ", "/proc/1/mem", "/proc/kcore",
        "/dev/sda", "/dev/mem", "/boot/vmlinuz", "/var/log/syslog", "/var/log/auth.log", "/var/log/audit/audit.log",
    )
)  # fmt: skip


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
    if path[:5].lower() == "file:":
        path = unquote(re.sub(r"^/{2,}(?:localhost)?/*", "/", path[5:])) or "/"
    if _DRIVE.match(path):
        path = path.replace("\\", "/")
    user = _OTHER_HOME.match(path)
    if user:
        path = ("/root" if user[1] == "root" else f"/home/{user[1]}") + path[user.end() :]
    # What is above the folder of a process is not what its path here says.
    path = _ABOVE_FOLDER.sub(r"\1/.", path)
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
    found = _class(path)
    above = _UP.match(path)
    if found != "ordinary" or above is None:
        return found
    # Enough steps up lead to the root, wherever they begin.
    found = _class(path[above.end() - 1 :])
    return found if found in _NOWHERE_ELSE else "ordinary"


def _class(path: str) -> str:
    for name, pattern in _COMPILED:
        if pattern.fullmatch(path):
            return name
    return "ordinary"


def fits(name: str, pattern: str) -> bool:
    """Tell whether a shell's pattern matches a name; `[…]` counts as any character. Takes no more than |name|·|pattern|."""
    pattern = _SET.sub("?", pattern)
    at = since = 0
    star = -1
    here = 0
    while at < len(name):
        if here < len(pattern) and pattern[here] == "*":
            star, since, here = here, at, here + 1
        elif here < len(pattern) and pattern[here] in ("?", name[at]):
            at, here = at + 1, here + 1
        elif star >= 0:
            since += 1
            at, here = since, star + 1
        else:
            return False
    return not pattern[here:].strip("*")


def path_classes(path: str) -> tuple[str, ...]:
    """Return the classes that a path may be of where a shell expands it: those of what its pattern would match."""
    if not _PATTERN.search(path) or len(path) > _ODD_LENGTH:
        return (path_class(path),)
    parts = path.split("/")
    hits = [
        _class("/".join(each))
        for each in _EXAMPLES
        if len(each) == len(parts) and all(map(fits, each, parts))
    ]
    return tuple(dict.fromkeys((path_class(path), *hits)))


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
