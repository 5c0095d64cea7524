# Coverage-guided fuzzing of the Rust core. Included by the Makefile.

.PHONY: fuzz

SECONDS ?= 60

# The crate is in no workspace with the others.
FUZZ_CRATE := --manifest-path rust/fuzz/Cargo.toml

fuzz: ## fuzz the Rust core, a minute a target; make fuzz SECONDS=1200 ARGS="decode server"
	bash scripts/fuzz.sh $(SECONDS) $(ARGS)
