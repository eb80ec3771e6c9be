# Shortcuts: nothing here is needed to build, `cargo build` does that alone once `make setup` ran.

CARGO ?= cargo
# Options of `netglass up`, e.g. make run RUN_ARGS='--interval 5s'
RUN_ARGS ?=
# A part of the name of the benches to run, and options, e.g. make bench FILTER=100k
FILTER ?=
BENCH_ARGS ?=

.PHONY: help setup run test lint bench doc

help: ## Show this
	@sed -n 's/^\([a-z]*\):[^#]*## /  make \1\t/p' Makefile | expand -t 16

setup: ## Install the Debian packages that everything below needs
	@scripts/setup

run: ## Build netglass and show who talks to whom on this host
	@scripts/setup build
	$(CARGO) run --locked --release --package netglass -- up $(RUN_ARGS)

test: ## Run all tests; those that cannot run here say why
	@scripts/setup build test
	$(CARGO) test --locked --workspace
	$(CARGO) check --locked --package netglass --no-default-features

lint: ## Check format, lints, documentation, scripts and dependencies
	@scripts/setup build lint
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- --deny warnings
	RUSTDOCFLAGS='--deny warnings' $(CARGO) doc --locked --workspace --no-deps
	shellcheck scripts/* .ci/run
	scripts/duplicates

bench: ## Compare netglass with its peers; FILTER is a part of a bench's name
	@scripts/setup build test bench
	$(CARGO) build --locked --release --package netglass --package netglass-testing --bins
	$(CARGO) run --locked --release --package netglass-bench -- $(FILTER) $(BENCH_ARGS)

doc: ## Build the documentation of the crates
	$(CARGO) doc --locked --workspace --no-deps
