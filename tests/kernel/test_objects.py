from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agentguard.core import IntegrityError, KernelError
from agentguard.kernel import _loader, _objects
from agentguard.kernel._loader import Loaded
from agentguard.kernel._objects import ENFORCING, NAMES, read_manifest, read_object
from kernel_lab import SMALL, why_not

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "bpf" / "build.py"


def test_manifest_has_each_object_for_both_machines() -> None:
    expected = {
        f"{machine}/{name}.bpf.o" for machine in ("x86_64", "aarch64") for name in (*NAMES, *ENFORCING)
    }
    assert read_manifest().objects.keys() == expected
    assert sorted(path.name.removesuffix(".bpf.c") for path in (ROOT / "bpf").glob("*.bpf.c")) == sorted(
        (*NAMES, *ENFORCING)
    )


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("name", [*NAMES, *ENFORCING])
def test_object_is_the_one_of_the_manifest(name: str, machine: str) -> None:
    assert read_object(name, machine)[:4] == b"\x7fELF"


def test_other_machine_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(KernelError, match="riscv64") as caught:
        read_object("syscalls", "riscv64")
    assert caught.value.code == "kernel_unsupported"


def test_changed_object_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "objects"
    shutil.copytree(str(_objects.folder()), copy)
    monkeypatch.setattr(_objects, "folder", lambda: copy)
    changed = copy / "x86_64" / "dns.bpf.o"
    changed.write_bytes(changed.read_bytes()[:-1] + b"x")
    with pytest.raises(IntegrityError) as caught:
        read_object("dns", "x86_64")
    assert caught.value.code == "bpf_object_changed"
    changed.unlink()
    with pytest.raises(IntegrityError):
        read_object("dns", "x86_64")
    (copy / "manifest.json").write_text("{}")
    with pytest.raises(IntegrityError):
        read_object("process", "x86_64")


@pytest.mark.kernel
@pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
def test_kernel_of_one_machine_accepts_what_the_other_has_in_common(monkeypatch: pytest.MonkeyPatch) -> None:
    # Instructions are the same everywhere; only `syscalls` reads registers, which have other names on another machine.
    own = platform.machine()
    other = "aarch64" if own == "x86_64" else "x86_64"
    monkeypatch.setattr(
        _loader, "read_object", lambda name: read_object(name, own if name == "syscalls" else other)
    )
    with Loaded(SMALL) as loaded:
        assert loaded.missing == {}
        assert len(loaded.costs()) >= 8


@pytest.mark.slow
def test_sources_give_the_objects_that_ship() -> None:
    if shutil.which("clang") is None or shutil.which("llvm-strip") is None:
        pytest.skip("clang or llvm-strip is not installed")
    version = subprocess.run(["clang", "--version"], capture_output=True, text=True, check=True).stdout
    if read_manifest().compiler.removeprefix("clang ") not in version:
        pytest.skip(f"built with {read_manifest().compiler}, which is not the one here")
    done = subprocess.run(
        [sys.executable, BUILD, "--check"], capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_changed_source_is_noticed_without_a_compiler(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "bpf", tmp_path / "bpf")
    code = "import build, json; print(json.dumps(build.sources_digest()))"

    def digest() -> str:
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path / "bpf", capture_output=True, text=True, check=True
        )
        return str(json.loads(done.stdout))

    assert digest() == read_manifest().sources
    with (tmp_path / "bpf" / "lib" / "file.h").open("a") as stream:
        stream.write("\n")
    assert digest() != read_manifest().sources
