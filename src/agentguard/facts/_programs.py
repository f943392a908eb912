"""What is known of programs: which of them run others, fetch, decode, write."""

from __future__ import annotations

SHELLS = frozenset(("sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "fish", "csh", "tcsh", "rbash"))
INTERPRETERS = frozenset(("python", "python2", "python3", "perl", "ruby", "node", "nodejs", "php", "powershell", "lua", "deno", "bun", "osascript", "pwsh", "tclsh"))  # fmt: skip
FETCHERS = frozenset(
    (
        "curl",
        "wget",
        "fetch",
        "aria2c",
        "http",
        "https",
        "lynx",
        "w3m",
        "axel",
        "lwp-request",
        "lwp-download",
        "GET",
    )
)
NETCATS = frozenset(("nc", "ncat", "netcat", "nc.traditional", "nc.openbsd", "netcat.traditional", "netcat.openbsd"))  # fmt: skip
CLIENTS = (FETCHERS | NETCATS) | {
    "telnet",
    "ftp",
    "sftp",
    "socat",
    "ssh",
    "scp",
    "rsync",
    "openssl",
}
DECODERS = frozenset(
    (
        "base64",
        "base32",
        "openssl",
        "xxd",
        "uudecode",
        "gpg",
        "basenc",
        "rev",
        "tr",
        "gunzip",
        "zcat",
        "gzip",
        "xz",
        "bzip2",
        "zstd",
        "xzcat",
        "bzcat",
        "zstdcat",
    )
)
PIPES = NETCATS | {"telnet", "socat"}
READS_NO_PATHS = frozenset(
    ("echo", "printf", "test", "[", "[[", "export", "alias", "kill", "sleep", "exit", "return")
)

# Program -> options that take a value, so that the program which it runs can be found behind them.
WRAPPERS: dict[str, frozenset[str]] = {
    "sudo": frozenset("ugpCrtThDR") | {"--user", "--group", "--prompt", "--chdir", "--host", "--role", "--type"},
    "doas": frozenset("uC"),
    "pkexec": frozenset(("--user",)),
    "env": frozenset("uCS") | {"--unset", "--chdir"},
    "nohup": frozenset(), "setsid": frozenset(), "command": frozenset(), "builtin": frozenset(),
    "exec": frozenset("a"), "time": frozenset("fo"), "busybox": frozenset(), "toybox": frozenset(),
    "nice": frozenset("n") | {"--adjustment"}, "ionice": frozenset("cnp"), "chrt": frozenset(),
    "timeout": frozenset("sk") | {"--signal", "--kill-after"}, "stdbuf": frozenset("ioe"),
    "xargs": frozenset("adEIiLlnPs") | {"--max-args", "--max-procs", "--arg-file", "--delimiter", "--replace"},
    "parallel": frozenset("jaIN"), "watch": frozenset("n") | {"--interval"}, "flock": frozenset("wE"),
    "strace": frozenset("eops"), "ltrace": frozenset("eop"), "unshare": frozenset(), "nsenter": frozenset("t"),
    "chroot": frozenset(), "caffeinate": frozenset("tw"), "torsocks": frozenset(), "proxychains": frozenset("f"),
    "proxychains4": frozenset("f"), "unbuffer": frozenset(), "coproc": frozenset(), "script": frozenset(), "catchsegv": frozenset(),
}  # fmt: skip
# Wrappers with arguments of their own before the program.
OWN_ARGUMENTS = {"timeout": 1, "chroot": 1, "flock": 1, "chrt": 1}
PRIVILEGED = frozenset(("sudo", "doas", "pkexec", "su", "nsenter"))
# Clients of databases -> options whose value is SQL; what they are fed is SQL too.
SQL_CLIENTS: dict[str, tuple[str, ...]] = {
    "psql": ("-c", "--command"), "mysql": ("-e", "--execute"), "mariadb": ("-e", "--execute"), "sqlcmd": ("-Q", "-q"),
    "sqlite3": (), "clickhouse-client": ("-q", "--query"), "duckdb": ("-c", "-s"),
}  # fmt: skip
FORMATTERS = ("mkfs", "mke2fs", "mkswap", "wipefs", "fdisk", "sfdisk", "sgdisk", "parted", "blkdiscard", "cryptsetup", "hdparm", "badblocks", "newfs", "pvcreate", "pvremove", "vgcreate", "vgremove", "lvremove", "mdadm")  # fmt: skip
DUMPERS = frozenset(("pg_dump", "pg_dumpall", "mysqldump", "mariadb-dump", "mongodump", "mongoexport", "sqlite3", "tar", "zip", "7z", "redis-cli", "etcdctl"))  # fmt: skip
