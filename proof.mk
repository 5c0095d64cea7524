# Long checks; simulation, schedules and fuzzer have a quick set in `make test`. Included by the Makefile.

.PHONY: proof simulate schedules fuzz sanitizers soak coverage mutants

proof: simulate schedules fuzz sanitizers soak soak-guest coverage mutants ## all of the long checks, one after the other: many hours

FIRST_SEED ?= 0
SEEDS ?= 100000

simulate: ## play guests, hosts and failures from many seeds; make simulate SEEDS=1000000 takes half an hour
	cargo run --release --locked --quiet -p daxmap-sim -- --seeds $(FIRST_SEED)..$$(($(FIRST_SEED) + $(SEEDS)))

# These crates are in no workspace with the others.
SCHEDULES_CRATE := --manifest-path rust/schedules/Cargo.toml
SCHEDULES ?= 100000

schedules: ## have shuttle choose which thread runs next; make schedules SEED=2 SCHEDULES=1000000 ARGS=loans
	SCHEDULES=$(SCHEDULES) cargo test $(SCHEDULES_CRATE) --target-dir target --locked -- $(ARGS)

FUZZ_CRATE := --manifest-path rust/fuzz/Cargo.toml
SECONDS ?= 60

fuzz: ## fuzz the Rust core, a minute a target, as `make test` does; make fuzz SECONDS=1200 ARGS="decode server"
	bash scripts/fuzz.sh $(SECONDS) $(ARGS)

sanitizers: $(TOOLS) ## run tests of Rust and Python under AddressSanitizer and ThreadSanitizer; make sanitizers ARGS=address
	bash scripts/sanitizers.sh $(ARGS)

soak: $(BUILT) ## ten million operations with failures: nothing may pile up, nor become slow; make soak ARGS=1000000
	PYTHONPATH=tests $(BIN)/python -m soak $(ARGS)

coverage: $(TOOLS) ## say which lines of Rust and Python no test runs; it fails for one that tests/uncovered.toml has no reason for
	bash scripts/coverage.sh $(ARGS)

mutants: ## change core, file server and device in one small way after the other, which their tests have to notice; make mutants ARGS="--file '**/book.rs'"
	bash scripts/mutants.sh $(ARGS)
