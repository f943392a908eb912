"""The same tests against the SDKs of the generation before, in the environment that `make test` builds for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import openai
import pytest

ROOT = Path(__file__).parents[3]
PYTHON = ROOT / ".venv-llm-old" / "bin" / "python"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(openai.__version__.startswith("2."), reason="this is the older generation")
@pytest.mark.skipif(not PYTHON.exists(), reason="no .venv-llm-old: `make test` builds it")
def test_guarded_clients_of_the_older_sdks_pass_the_same_tests() -> None:
    command = [
        str(PYTHON),
        "-m",
        "pytest",
        "tests/clients/llm",
        "-q",
        "-p",
        "no:cacheprovider",
        "-m",
        "not slow",
    ]
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5_000:] + done.stderr[-2_000:]
    versions = "import openai, anthropic; print(openai.__version__[0], anthropic.__version__[0])"
    found = subprocess.run([PYTHON, "-c", versions], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["2", "1"]
    assert sys.executable != str(PYTHON)
