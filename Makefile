# `make demo` and `make test` do all their own set-up. `make` alone lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Stamps: when these files were made, .venv had the tools, and the extension was built and installed into it.
TOOLS := $(VENV)/.tools
BUILT := $(VENV)/.built

RUST_SOURCES := Cargo.toml Cargo.lock $(shell find rust -not -path 'rust/fuzz/*' -not -path 'rust/schedules/*' '(' -name '*.rs' -o -name Cargo.toml ')')
RUST_VERSION := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)

# cargo and maturin use the interpreter of .venv, whatever environment is active in the caller's shell.
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
export PYO3_PYTHON := $(CURDIR)/$(BIN)/python
unexport CONDA_PREFIX
unexport PYTHONPATH

# What programs keep for later, pip and Zig for two, is here as well: in a folder of this checkout, not in the user's home.
export XDG_CACHE_HOME := $(CURDIR)/target/cache

# pip says what goes wrong, and nothing else.
export PIP_QUIET := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# The steps of `test` share cargo's and mypy's caches, and pytest's summary is to come last.
.NOTPARALLEL:
.PHONY: help demo test lint rust-test check-macos pytest bench fmt clean doctor

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(BUILT) ## build daxmap and show a guest that uses host files through its DAX window
	$(BIN)/daxmap demo $(ARGS)

include docs.mk linux.mk machines.mk proof.mk release.mk

test: lint check-macos rust-test fuzz pytest ## build daxmap, check the code and run all tests

lint: $(BUILT) ## check format, lints, types, the stubs against the binary, and the licence texts
	cargo fmt --all --check
	cargo fmt $(FUZZ_CRATE) --check
	cargo fmt $(SCHEDULES_CRATE) --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy $(FUZZ_CRATE) --target-dir target --all-targets --locked -- -D warnings
	cargo clippy $(SCHEDULES_CRATE) --target-dir target --tests --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/stubtest daxmap --mypy-config-file pyproject.toml
	$(BIN)/python scripts/docs.py --check
	$(BIN)/python scripts/licences.py --check
	$(BIN)/python scripts/pictures --check

rust-test: ## run the tests of the Rust core, the fuzzer's seeds, and some schedules
	cargo test --workspace --locked
	cargo test $(FUZZ_CRATE) --target-dir target --locked
	cargo test $(SCHEDULES_CRATE) --target-dir target --locked

# All of them on every CPU, a file at a time; a few as they are.
pytest: $(BUILT) ## run the Python tests; make pytest ARGS="tests/test_layout.py -k base" runs a few
	$(BIN)/pytest $(or $(ARGS),--numprocesses auto --dist loadfile)

check-macos: ## check the code for macOS, on any system
	bash scripts/check-macos.sh

bench: $(BUILT) ## measure daxmap against its floors, in two minutes; make bench ARGS=--write
	$(BIN)/python -m benches $(ARGS)

fmt: $(TOOLS) ## format the code
	cargo fmt --all
	cargo fmt $(FUZZ_CRATE)
	cargo fmt $(SCHEDULES_CRATE)
	$(BIN)/ruff format

clean: ## remove all that the other targets made
	rm -rf $(VENV) target dist .hypothesis .mypy_cache .pytest_cache .ruff_cache .benchmarks
	rm -f python/daxmap/*.so
	find python tests -name __pycache__ -prune -exec rm -rf {} +

include ci.mk

$(BUILT): $(TOOLS) $(RUST_SOURCES)
	$(BIN)/maturin develop --release
	@touch $@

# $(call extra,NAME): what an extra of pyproject.toml wants.
extra = $$($(BIN)/python -c 'import tomllib; \
	print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["$(1)"])')

# The tools are the extra "dev" of pyproject.toml. They are there before the package, since maturin is one of them.
$(TOOLS): pyproject.toml | $(BIN)/pip
	$(BIN)/pip install $(call extra,dev)
	@touch $@

# pip is what venv makes last.
$(BIN)/pip:
	@$(MAKE) --no-print-directory doctor
	$(PYTHON) -m venv --clear $(VENV)

# $(call need,COMMAND,WHAT): unless COMMAND succeeds, say in one line what is missing, and fail.
need = @{ $(1); } >/dev/null 2>&1 || { echo 'daxmap needs $(2)' >&2; exit 1; }
RUST := Rust $(RUST_VERSION) or later: see https://rustup.rs (or apt install rustup; rustup default stable)

doctor: ## check that Python, Rust and a C linker are here
	$(call need,command -v $(PYTHON),Python 3.11 or later: apt install python3)
	$(call need,$(PYTHON) -c 'import tomllib',Python 3.11 or later; name one with make PYTHON=/path/to/python)
	$(call need,$(PYTHON) -c 'from ensurepip import bootstrap',the venv module of Python: apt install python3-venv)
	$(call need,printf '%s\n' $(RUST_VERSION) "$$(cargo --version | cut -d ' ' -f 2)" | sort -CV,$(RUST))
	$(call need,command -v cc,a C linker: apt install gcc libc6-dev)
