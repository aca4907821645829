SHELL := /bin/bash
.DEFAULT_GOAL := help
PY := .venv/bin/python
# uv is taken from PATH, else from a private folder where pip installs it once.
UV = $(shell command -v uv || echo .venv/uv/bin/uv)

.PHONY: help env lock demo demo-orchestrator kind-demo test test-deep test-faults bench bench-solve bench-orchestrator bench-delivery bench-scale lint crds

help: ## this list
	@grep -hE '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | sort | awk -F':.*?## ' '{printf "  make %-18s %s\n", $$1, $$2}'

env: .venv/.stamp ## create or refresh .venv from requirements.lock

.venv/.stamp: requirements.lock pyproject.toml
	@test -x .venv/bin/python || { command -v uv >/dev/null && uv venv --quiet --python '>=3.11' .venv || python3 -m venv .venv; }
	@command -v uv >/dev/null || test -x .venv/uv/bin/uv || python3 -m pip install --quiet --root-user-action=ignore --target .venv/uv uv
	$(UV) pip sync --quiet --compile-bytecode --python $(PY) --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(PY) --no-deps --editable .
	@touch $@

lock: ## resolve the dependencies again into requirements*.lock
	@command -v uv >/dev/null || test -x .venv/uv/bin/uv || python3 -m pip install --quiet --root-user-action=ignore --target .venv/uv uv
	$(UV) pip compile --quiet --universal --generate-hashes --group dev pyproject.toml -o requirements.lock
	$(UV) pip compile --quiet --universal --generate-hashes -c requirements.lock pyproject.toml -o requirements-runtime.lock
	$(UV) pip compile --quiet --universal --generate-hashes --group image -o requirements-build.lock

demo: env ## the main job, live, on a real control plane
	$(PY) examples/demo.py

demo-orchestrator: env ## five HTTP workers under the orchestrator library, one killed, one slow
	$(PY) examples/orchestrator/demo.py

kind-demo: env ## the image and the chart on a kind cluster (needs Docker and kind)
	examples/kind/demo.sh

test: env ## the tests, those on the real API server included
	$(PY) -m pytest -m 'not deep and not faults'

test-deep: env ## the long property and model tests
	$(PY) -m pytest -m deep --timeout=3600

test-faults: env ## minutes of fault injection with a fixed seed; BERTH_FAULTS=1000 for more
	$(PY) -m pytest -m faults --timeout=3600

bench: env ## the benchmarks: a table each
	-$(PY) -m benchmarks.solve --size small --start own --start empty
	$(PY) benchmarks/first_placement.py

bench-solve: env ## the solver's hard families, beside OR-tools and Gazette (long)
	$(PY) -m benchmarks.solve --churn

bench-orchestrator: env ## a term of the orchestrator library against its calls alone
	$(PY) -m benchmarks.orchestrator

bench-delivery: env ## from the leader's write to a worker's callback, and what a worker costs
	$(PY) -m benchmarks.delivery

bench-scale: env ## the controller at scale against a bare-write floor
	$(PY) -m benchmarks.scale

lint: env ## ruff, mypy, import-linter
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

crds: env ## write what is generated: crds/, docs/reference/api.md, docs/metrics.md, parts of the chart
	$(PY) tools/generate.py
