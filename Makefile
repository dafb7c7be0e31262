# The commands of this repository; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# Steps run one after the other: their order is part of what they promise.
.NOTPARALLEL:

CLIENTS := tests/clients
HOLIDAYS_VENV := $(or $(CARGO_TARGET_DIR),target)/holidays-venv
RUN_TESTS := $(shell cargo nextest --version >/dev/null 2>&1 && echo 'nextest run' || echo 'test --lib --bins --tests')

.PHONY: help
help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: web ## build and start the server with its demo workspace; prints where to look
	cargo run -- demo

.PHONY: build
build: web ## build the binary to run: target/release/cadenza
	cargo build --release

.PHONY: web
web: web/dist/graphiql.js ## get what the page at / is made of, for the next build to take in

web/dist/graphiql.js: web/package-lock.json web/copy.mjs
	@command -v npm >/dev/null || { echo "the page at / needs Node.js 20 or newer with npm to be built: install the packages nodejs and npm" >&2; exit 1; }
	npm --prefix web ci --no-audit --no-fund
	npm --prefix web run --silent build
	@touch $@

.PHONY: holidays
holidays: ## write the public holidays that are compiled in anew, with the packages that are pinned there
	@command -v python3 >/dev/null || { echo "make holidays needs Python 3.11 or newer with venv: install the packages python3 and python3-venv" >&2; exit 1; }
	python3 -m venv $(HOLIDAYS_VENV)
	$(HOLIDAYS_VENV)/bin/pip install --quiet --requirement src/domain/holidays/requirements.txt
	$(HOLIDAYS_VENV)/bin/python src/domain/holidays/generate.py

.PHONY: test
test: web fmt-check lint ## check everything, on SQLite and on PostgreSQL, from nothing (installs what tests need)
	.ci/with-postgres $(MAKE) --no-print-directory test-rust test-clients

.PHONY: test-rust
test-rust: ## the Rust tests alone; needs TEST_POSTGRES_URL: .ci/with-postgres make test-rust
	cargo $(RUN_TESTS) --workspace
	@.ci/untested

.PHONY: test-clients
test-clients: export CADENZA_BIN ?= $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)/debug/cadenza
test-clients: web ## the tests with npm clients and the examples alone: .ci/with-postgres make test-clients
	@command -v npm >/dev/null || { echo "make test needs Node.js 20 or newer with npm: install the packages nodejs and npm" >&2; exit 1; }
	cargo build --bin cadenza
	npm --prefix $(CLIENTS) ci --no-audit --no-fund
	.ci/with-python npm --prefix $(CLIENTS) test

.PHONY: bench
bench: ## measure the engine on both databases
	.ci/with-postgres cargo bench --bench '*'

.PHONY: soak
soak: export CADENZA_BIN ?= $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)/debug/cadenza
soak: web ## ten minutes of honest and hostile clients; CADENZA_SOAK_SECONDS and CADENZA_SOAK_DATABASE (sqlite, postgres) say otherwise
	cargo build --bin cadenza
	npm --prefix $(CLIENTS) ci --no-audit --no-fund
	.ci/with-postgres node $(CLIENTS)/soak.mjs

.PHONY: fuzz
fuzz: ## ten million odd documents, messages, bodies and headers; CADENZA_FUZZ_INPUTS says another number
	CADENZA_FUZZ_INPUTS=$${CADENZA_FUZZ_INPUTS:-10000000} cargo test --profile fuzz --test it -- --nocapture --test-threads 1 fuzz::

.PHONY: fmt
fmt: ## format the code
	cargo fmt --all

.PHONY: fmt-check
fmt-check: ## fail if the code is not formatted
	cargo fmt --all --check

.PHONY: lint
lint: ## clippy, every warning an error
	cargo clippy --workspace --all-targets -- -D warnings

.PHONY: schema
schema: ## write schema.graphql from the code
	cargo run --quiet -- schema > schema.graphql.new
	mv schema.graphql.new schema.graphql

.PHONY: clean
clean: ## delete everything that was built or installed here
	cargo clean
	rm -rf $(CLIENTS)/node_modules schema.graphql.new
