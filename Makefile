# Two commands on a fresh machine with python3 and make: `make demo`, `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint lock schemas docs example clean

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	# The lock names everything: with dependencies to resolve, pip before 23.3 looks past the pin of PACKAGE[extra].
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check --disable-pip-version-check -q
	touch $(READY)

demo: $(READY)
	$(BIN)/manifestd demo

# Everything a change must pass; CI runs the same.
test: $(READY) lint
	$(BIN)/pytest

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# A real S3 server, for the tests marked reals3.
.venv-s3: $(READY)
	$(BIN)/python -m tests.support.real_s3

# Re-resolve the pinned, hash-locked requirements (needs uv).
lock:
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --no-annotate -o requirements.lock

schemas: $(READY)
	$(BIN)/python -m tests.support.schemas

# docs/reference/cli.md and the list of pages in docs/index.md.
docs: $(READY)
	$(BIN)/python -m tests.support.generated_docs

# The signed store that README.md and docs/tutorial.md replay.
example: $(READY)
	$(BIN)/python -m tests.support.make_example

clean:
	rm -rf $(VENV) .venv-s3 build dist
