# Shortcuts: nothing here is needed to build, `cargo build` does that alone once `make setup` ran.

CARGO ?= cargo
# Options of `netglass up`, e.g. make run RUN_ARGS='--interval 5s'
RUN_ARGS ?=
# A part of the name of the benches to run, and options, e.g. make bench FILTER=100k
FILTER ?=
BENCH_ARGS ?=
# How long each fuzz target runs
FUZZ_SECONDS ?= 30

.PHONY: help setup run test lint bench fuzz doc

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
	$(CARGO) check --locked --package netglass --no-default-features --features trace
	$(CARGO) test --locked --package netglass --features kafka --test stream kafka
	cd fuzz && $(CARGO) check --locked --bins

lint: ## Check format, lints, documentation, scripts and dependencies
	@scripts/setup build lint
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- --deny warnings
	RUSTDOCFLAGS='--deny warnings' $(CARGO) doc --locked --workspace --no-deps
	shellcheck scripts/* .ci/run
	scripts/duplicates

bench: ## Compare netglass with its peers; FILTER is a part of a bench's name
	@scripts/setup build test bench
	$(CARGO) build --locked --release --package netglass --package netglass-testing --package netglass-bench --bins
	$(CARGO) run --locked --release --package netglass-bench -- $(FILTER) $(BENCH_ARGS)

# Without a sanitizer it needs no nightly toolchain, and there is no unsafe code for one to watch.
fuzz: ## Feed made-up bytes to every parser, FUZZ_SECONDS to each
	@scripts/setup build
	@$(CARGO) fuzz --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-fuzz
	cd fuzz && for target in $$($(CARGO) fuzz list); do \
		echo "== $$target"; \
		mkdir -p corpus/$$target; \
		$(CARGO) fuzz run --sanitizer none $$target corpus/$$target $$(ls -d seeds/$$target 2>/dev/null) -- \
			-max_total_time=$(FUZZ_SECONDS) -timeout=10 -verbosity=0 || exit; \
	done

doc: ## Build the documentation of the crates
	$(CARGO) doc --locked --workspace --no-deps
