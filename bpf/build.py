"""Compile `bpf/*.bpf.c` for each architecture into the package, with a manifest; `--check` compares instead.

Run it after every change of the sources: `make bpf`. It needs clang, llvm-strip and libbpf's headers (on Debian:
clang, llvm, libbpf-dev). The same compiler gives the same bytes wherever the checkout lies.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent
PACKAGE = ROOT.parent / "src" / "agentguard" / "kernel" / "objects"
# machine, as `platform.machine()` has it -> as libbpf's headers have it
ARCHITECTURES = {"aarch64": "arm64", "x86_64": "x86"}
FLAGS = (
    "-target", "bpf", "-mcpu=v3", "-O2", "-g", "-std=gnu11", "-Wall", "-Wextra", "-Werror",
    "-Wno-unused-parameter", "-Wno-unused-function",
)  # fmt: skip


class BuildError(Exception):
    """An object cannot be built; the text says why."""


def compiler() -> str:
    """Return the compiler's version, as the manifest has it.

    Raises:
        BuildError: a program that is needed is not there.
    """
    for program in ("clang", "llvm-strip"):
        if shutil.which(program) is None:
            raise BuildError(
                f"`{program}` is not installed; on Debian: apt-get install clang llvm libbpf-dev"
            )
    text = _run("clang", "--version")
    found = re.search(r"clang version ([0-9.]+)", text)
    if found is None:
        raise BuildError("`clang --version` does not say its version")
    return f"clang {found[1]}"


def sources_digest() -> str:
    """Return the digest of everything that is compiled."""
    digest = hashlib.sha256()
    for path in sorted([*ROOT.glob("*.bpf.c"), *(ROOT / "lib").glob("*.h")]):
        digest.update(f"{path.relative_to(ROOT)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def build(target: Path) -> dict[str, object]:
    """Compile every object into `target` and return the manifest.

    Raises:
        BuildError: a source does not compile.
    """
    objects: dict[str, dict[str, object]] = {}
    for machine, architecture in ARCHITECTURES.items():
        (target / machine).mkdir(parents=True, exist_ok=True)
        for source in sorted(ROOT.glob("*.bpf.c")):
            name = f"{machine}/{source.name.removesuffix('.bpf.c')}.bpf.o"
            made = target / name
            _compile(source, made, architecture)
            content = made.read_bytes()
            objects[name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    return {"compiler": compiler(), "flags": list(FLAGS), "sources": sources_digest(), "objects": objects}


def _compile(source: Path, made: Path, architecture: str) -> None:
    define = f"-D__TARGET_ARCH_{architecture}"
    # Relative names, and no other trace of where the checkout lies.
    _run("clang", *FLAGS, define, "-fdebug-compilation-dir=.", "-c", source.name, "-o", str(made))
    # The types that the kernel needs stay; what is for debuggers goes.
    _run("llvm-strip", "--strip-debug", str(made))


def _run(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    if done.returncode != 0:
        raise BuildError(f"{' '.join(command)}\n{done.stderr}")
    return done.stdout


def differences(manifest: dict[str, object], shipped: Path = PACKAGE) -> list[str]:
    """Return what in the package is not as `manifest` says, file by file."""
    try:
        old = json.loads((shipped / "manifest.json").read_bytes())
    except (OSError, ValueError):
        return ["manifest.json cannot be read"]
    found = [name for name in manifest if manifest[name] != old.get(name)]
    objects: dict[str, dict[str, object]] = old.get("objects", {})
    for name, entry in objects.items():
        path = shipped / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]:
            found.append(name)
    return found


def main() -> int:
    """Build, or with `--check` build elsewhere and compare: 1 when something differs, 2 when it cannot be built."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with what is in the package")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            manifest = build(Path(folder))
            if options.check:
                found = differences(manifest)
                for each in found:
                    sys.stderr.write(f"{each} is not what the sources give; run `make bpf`\n")
                return 1 if found else 0
            shutil.rmtree(PACKAGE, ignore_errors=True)
            shutil.copytree(folder, PACKAGE)
    except BuildError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    (PACKAGE / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    for name in sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.o")):
        sys.stdout.write(f"{name}  {(PACKAGE / name).stat().st_size} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
