# The commands of this project. `make` alone lists them.
#
# Everything goes into .venv and target inside the checkout. PYTHON is the interpreter to build for, PORT the
# port of `make serve`.

PYTHON ?= python3
PORT ?= 9998
SECONDS ?= 60
TARGETS ?=

VENV := $(CURDIR)/.venv
BIN := $(VENV)/bin
# Written when .venv is complete.
READY := $(VENV)/.ready

# The binary embeds the Python of .venv and finds its packages there, whatever is active around us.
export PYO3_PYTHON := $(BIN)/python
export VIRTUAL_ENV := $(VENV)
export PYTHONDONTWRITEBYTECODE := 1
unexport PYTHONHOME PYTHONPATH

.PHONY: help serve test test-rust test-python test-browsers browsers test-newest test-pythons test-bench test-release installed bench \
	bench-reload lint fmt wheel package venv clean rust soak stress audit fuzz miri mutants conformance

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

serve: venv rust ## Build wshost and serve handlers/ on port 9998 (PORT=...)
	cargo build --release --locked --bin wshost
	@echo
	@echo "  console    http://localhost:$(PORT)/console.html"
	@echo "  handlers   ws://localhost:$(PORT)/echo, /chat, /clock, ... (handlers/*_wsh.py; edit one and save it)"
	@echo
	@exec target/release/wshost -p $(PORT) -d handlers -m handler_map.txt --log-level info

test: test-rust test-python test-bench test-browsers test-release test-newest ## Run every test

# The modules of the fuzz targets and of Miri have a list of crates of their own: it must not fall behind.
test-rust: venv rust
	cargo test --locked
	cargo check --locked --tests --manifest-path fuzz/Cargo.toml --target-dir target -p wshost-pure

# The benchmark itself: fails when a server crashes or echoes something else, never for a time. It shares the debug
# builds of the other tests.
test-bench: venv rust
	$(BIN)/python benches/run.py --quick --debug --peers wshost,tungstenite,pywebsocket3

# The wheel is installed, so that what people get is what is tested. Rust comes first: building the wheel sets up
# PyO3 in another way, and the binary must not be built again after it.
test-python: venv rust
	cargo build --locked --bin wshost
	@$(MAKE) --no-print-directory installed
	WSHOST=$(CURDIR)/target/debug/wshost $(BIN)/python -m pytest -n auto --ignore=tests/browser

test-browsers: venv rust ## Run the tests in Firefox and Chromium, where they are installed
	cargo build --locked --bin wshost
	@scripts/browsers check
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r tests/browser/requirements.txt
	WSHOST=$(CURDIR)/target/debug/wshost $(BIN)/python -m pytest tests/browser

# Faults, stops and limits once more, on what people install: the checks of a debug build hide faults, and end processes
# that would go on.
RELEASE_TESTS := $(wildcard tests/python/test_faults_*.py) $(patsubst %,tests/python/test_%.py,concurrency heartbeat \
	limits listening logs memory probe reload_hindered reload_ways stop trace)

test-release: venv rust test-python test-bench test-browsers ## Run the tests of faults, stops and limits on release builds
	cargo build --release --locked --bin wshost
	@$(MAKE) --no-print-directory installed PROFILE=release
	WSHOST=$(CURDIR)/target/release/wshost $(BIN)/python -m pytest -n auto $(RELEASE_TESTS)

browsers: ## Install Firefox and Chromium for that, with apt; needs root
	@scripts/browsers install

# The last one: it sets up PyO3 for another Python, and everything would be built again after it.
test-newest: venv rust test-python test-bench test-browsers test-release
	$(BIN)/python scripts/test-pythons --newest

test-pythons: venv rust ## Test the packages on every CPython 3.9-3.13 of this machine
	cargo build --locked --bin wshost
	$(BIN)/python scripts/test-pythons

# Builds the wheel for .venv, by default quickly, and installs it there.
installed: PROFILE ?= dev
installed: venv rust
	rm -rf target/test-wheel
	$(BIN)/maturin build --profile $(PROFILE) --locked --quiet --interpreter $(BIN)/python --out target/test-wheel
	$(BIN)/python -m pip install --quiet --no-deps --force-reinstall target/test-wheel/*.whl

bench-reload: venv rust ## Measure hot reload: latencies, failed connections, memory
	cargo build --release --locked --bin wshost
	$(BIN)/python benches/reload.py target/release/wshost

soak: venv rust ## 100,000 connections and 5,000,000 messages against a release build (a few minutes)
	cargo build --release --locked --bin wshost
	WSHOST=$(CURDIR)/target/release/wshost $(BIN)/python tests/soak/soak.py

stress: venv rust ## Let many threads use one connection, a minute without TLS and a minute with it
	cargo build --release --locked --bin wshost
	WSHOST=$(CURDIR)/target/release/wshost CONCURRENCY_SECONDS=60 $(BIN)/python -m pytest -n0 tests/python/test_concurrency.py

fuzz: rust ## Run the fuzz targets for SECONDS each (60; TARGETS="head frame": these); needs nightly and cargo-fuzz
	scripts/fuzz $(SECONDS) $(TARGETS)

# Deflate and the tests of limits (heads of half a megabyte) are left out: they take hours under Miri.
miri: rust ## Run the tests of the modules without Python under Miri; needs nightly with miri and rust-src
	cargo +nightly miri --version >/dev/null || \
	  { echo "error: no Miri; rustup +nightly component add miri rust-src" >&2; exit 1; }
	cd fuzz && MIRIFLAGS=-Zmiri-disable-isolation cargo +nightly miri test --locked -p wshost-pure -- --skip websocket::deflate --skip limit

conformance: venv rust ## Run the Autobahn test suite over ws and wss (FULL=1: all cases; needs a CPython 2.7)
	cargo build $(if $(FULL),--release) --locked --bin wshost
	WSHOST=$(CURDIR)/target/$(if $(FULL),release,debug)/wshost $(BIN)/python -m pytest -s tests/conformance

mutants: rust ## Change the modules without Python bit by bit: which changes does no test notice? Needs cargo-mutants
	scripts/mutants

audit: venv rust ## Check memory (needs nightly) and the crates: licences, sources, advisories where they can be had
	PYTHON=$(BIN)/python scripts/audit

bench: venv rust ## Measure beside other servers, write docs/benchmarks.md (QUICK=1: try it)
	$(BIN)/python benches/run.py $(if $(QUICK),--quick)

lint: venv rust ## Check the style and the types
	cargo fmt --check
	cargo fmt --manifest-path fuzz/Cargo.toml --all --check
	cargo clippy --locked --all-targets -- -D warnings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --python-version 3.14
	@$(MAKE) --no-print-directory installed
	$(BIN)/python -m mypy.stubtest wshost._native --allowlist scripts/stubtest-allowlist

fmt: venv rust ## Format everything
	cargo fmt
	cargo fmt --manifest-path fuzz/Cargo.toml --all
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only .

wheel: venv rust ## Build a wheel for PYTHON into dist/
	$(BIN)/maturin build --release --locked --interpreter $(BIN)/python --out dist

# In a folder of its own: the build of the package leaves a binary behind that Cargo takes for that of this checkout.
package: rust ## Make the Cargo package and build it from its own files
	cargo package --locked --target-dir target/package-check
	@ls target/package-check/package/*.crate

venv: $(READY) ## Make .venv with what the other commands need

$(READY): requirements-dev.txt scripts/venv
	@scripts/venv "$(PYTHON)" "$(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt || \
	  { echo "error: pip could not install requirements-dev.txt; the lines above say why" >&2; exit 1; }
	@touch $@

rust:
	@command -v cargo >/dev/null || \
	  { echo "error: no cargo; install Rust 1.88 or newer (https://rustup.rs)" >&2; exit 1; }

clean: ## Delete what was built, .venv included
	rm -rf target fuzz/target dist .venv .pytest_cache .ruff_cache .mypy_cache
