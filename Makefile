# One environment, .venv, has two layers: the packages that `make chat` needs, and those that development needs.
# A target makes its layer when the layer is missing or older than pyproject.toml. Another interpreter:
# `make PYTHON=python3.13 …` (after `make clean`, if there is an environment already).

PYTHON ?= python3
ARGS   ?=
VENV   := .venv
BIN    := $(VENV)/bin
CHAT   := $(VENV)/.made-chat
DEV    := $(VENV)/.made-dev
PIP    := $(BIN)/python -m pip install -qq
LOW    := build/floors
# The parts of the tests that meet the dependencies: the store on real servers, telemetry, what is stored and sent, and
# the adapters, of which that of pywa is served by FastAPI.
FLOOR_TESTS := tests/store/test_store_contract.py tests/store/test_redis_atomic.py tests/store/test_senseless_replies.py \
  tests/store/test_connections.py tests/store/test_wire.py tests/runtime/test_telemetry.py \
  tests/hostile/test_measurements.py tests/document tests/channels tests/messages tests/web tests/adapters
REDIS_TESTS := tests/store/test_store_contract.py tests/store/test_redis_atomic.py tests/store/test_connections.py \
  tests/store/test_wire.py
# Warnings of old versions are theirs, and no errors.
FLOOR_PYTEST = $(LOW)/bin/python -m pytest -q --numprocesses=$(WORKERS) -o filterwarnings=default -p no:cacheprovider

# One worker more than cores: tests wait for servers and processes half of the time.
WORKERS := $(shell echo $$(($$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2) + 1)))

export PIP_DISABLE_PIP_VERSION_CHECK := 1
MAKEFLAGS += --no-print-directory

.DELETE_ON_ERROR:
.PHONY: help chat test browser check floors structure figures bench load bounds mutation faults later forged docs wheel-test release clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 12

chat: $(CHAT) ## talk to VimbisoPay, at a terminal or through a pipe; ARGS="--data DIR"
	@$(BIN)/vimbiso chat --flows flows --phone 263779990001 $(ARGS)

test: $(DEV) ## run all tests, and check the coverage; some of them: .venv/bin/pytest -k WORD
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest --numprocesses=$(WORKERS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

browser: $(DEV) ## try the pages in the Chromium of this machine; pictures of them are in build/browser
	$(BIN)/python -m pytest -rs tests/browser

check: $(DEV) ## check format, lint, import contracts and types
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/lint-imports
	$(BIN)/mypy
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python

floors: $(DEV) ## try a part of the tests with the lowest declared versions, and with redis-py 6.4 and 7
	rm -rf $(LOW) && mkdir -p build && $(PYTHON) -m venv $(LOW)
	$(BIN)/python -m tests.floors > build/floors.txt
	$(LOW)/bin/python -m pip install -qq 'pip>=25.1'
	$(LOW)/bin/python -m pip install -qq --constraint build/floors.txt --editable '.[cli,otel,phone,aiogram,django,ptb,pywa,twilio]' 'fastapi>=0.115' --group test
	$(FLOOR_PYTEST) $(FLOOR_TESTS)
	$(LOW)/bin/python -m pip install -qq 'redis[hiredis]>=7,<8'
	$(FLOOR_PYTEST) $(REDIS_TESTS)

structure: $(DEV) ## print rooms, import levels, arrows and circles; ARGS="CHECKOUT…" for others
	@$(BIN)/python -m tests.structure $(ARGS)

figures: $(DEV) ## print size, Any, import time and completeness of types; ARGS="CHECKOUT…" for others
	@$(BIN)/python -m tests.figures $(ARGS)

bench: $(DEV) ## time a turn beside a bare GET and SET; ARGS go to tests/bench
	$(BIN)/python -m tests.bench $(ARGS)

load: $(DEV) ## load an app over HTTP on this machine; ARGS="--requests N --processes N"
	@$(BIN)/python -m tests.load $(ARGS)

bounds: $(DEV) ## measure what one sender can make the store keep
	@$(BIN)/python -m tests.bounds

mutation: $(DEV) ## change the flows of VimbisoPay, and print which changes no test finds; ARGS="--only FLOW --without-tests"
	$(BIN)/python -m tests.mutation $(ARGS)

faults: $(DEV) ## run the fault suite in depth; ARGS="--short --row NAME --seed N"
	$(BIN)/python -m tests.faults $(ARGS)

later: $(DEV) ## run all tests as if it were later; ARGS="--days N", and arguments of pytest
	$(BIN)/python -m tests.later --numprocesses=$(WORKERS) $(ARGS)

forged: $(DEV) ## send 100,000 requests that no channel has made to the app; ARGS="COUNT"
	$(BIN)/python -m tests.web.forged $(ARGS)

docs: $(DEV) ## make the documentation site, in build/docs; warnings are errors
	$(BIN)/sphinx-build --builder html --fail-on-warning --keep-going --quiet docs build/docs

wheel-test: $(DEV) ## build the wheel twice, compare both, install it elsewhere and try it
	.ci/wheel-test $(BIN)/python

release: $(DEV) ## make what is published of the latest commit, with a bill of materials, in build/release
	$(PIP) --group release
	.ci/release build/release $(BIN)/python

clean: ## remove the environment and the files of the tools
	rm -rf $(VENV) build dist htmlcov .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache

# Making the environment reads nothing from standard input and writes nothing to standard output, because both
# belong to the conversation in `… | make -s chat`.
$(CHAT): pyproject.toml
	@{ $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	     echo "vimbiso_fsm needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1 || true)"; \
	     echo "Name another interpreter: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }; \
	   echo "making $(VENV) …"; \
	   $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || { \
	     echo "$(PYTHON) cannot make an environment; on Debian: apt-get install python3-venv"; exit 1; }; \
	   $(PIP) --editable '.[cli,phone]' && touch $@; } </dev/null >&2

$(DEV): $(CHAT)
	@{ echo "adding the development tools to $(VENV) …"; \
	   $(PIP) 'pip>=25.1' && $(PIP) --editable '.[cli,phone,aiogram,django,ptb,pywa,twilio]' --group dev && touch $@; } </dev/null >&2
