# Two commands for a newcomer: `make run` and `make test`. Each sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN_ARGS :=
ifdef ONCE
RUN_ARGS += --once
endif

.DEFAULT_GOAL := help
.PHONY: help setup run test check format lint types contracts bench bpf docs lock clean apt

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(VENV)/.ready: requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "agentguard needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ...")'
	@$(PYTHON) -m venv $(VENV) || { echo 'no venv module: on Debian, apt-get install python3-venv' >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

setup: $(VENV)/.ready ## build the environment in .venv

run: setup ## the demo: sidecar, page and a real agent (ONCE=1 ends with the verdict)
	$(BIN)/python examples/devops/run.py $(RUN_ARGS)

apt:
	@sh .ci/apt.sh
	@sh .ci/guest.sh

test: setup apt .venv-llm-old/.ready ## the whole test suite
	$(BIN)/python -m pytest

# The models' SDKs of the generation before: an environment holds one version of each.
.venv-llm-old/.ready: requirements/llm-old.txt
	@$(PYTHON) -m venv .venv-llm-old
	.venv-llm-old/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/llm-old.txt
	@touch $@

format: setup ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix --quiet .

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy

contracts: setup
	$(BIN)/lint-imports

check: lint types contracts test ## format, lint, types, import contracts, tests

bench: .venv-bench/.ready .venv-litellm/.ready ## speed and memory, beside the named peers
	.venv-bench/bin/python -m benchmarks

# An environment of its own: a peer asks for older libraries than ours.
.venv-bench/.ready: requirements/bench.txt pyproject.toml
	@$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# The peer of `python -m benchmarks gateway`: LiteLLM's proxy, whose libraries are not ours.
.venv-litellm/.ready: requirements/litellm.txt
	@$(PYTHON) -m venv .venv-litellm
	.venv-litellm/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/litellm.txt
	@touch $@

bpf: setup ## compile the BPF programs again (clang, llvm, libbpf-dev)
	$(BIN)/python bpf/build.py

docs: setup ## write the generated references under docs/ again
	$(BIN)/python docs/generate.py

lock: setup ## lock the requirements again, with hashes
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --custom-compile-command "make lock" pyproject.toml -o requirements/base.txt
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --custom-compile-command "make lock" --extra kernel --extra postgres --extra redis --extra temporal --extra slack pyproject.toml requirements/dev.in -c requirements/base.txt -o requirements/dev.txt
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --custom-compile-command "make lock" --extra bench pyproject.toml requirements/bench.in -o requirements/bench.txt
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --custom-compile-command "make lock" pyproject.toml requirements/llm-old.in -c requirements/base.txt -o requirements/llm-old.txt
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --custom-compile-command "make lock" requirements/litellm.in -o requirements/litellm.txt

clean: ## remove what was built
	rm -rf $(VENV) .venv-bench .venv-llm-old .venv-litellm .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build dist
