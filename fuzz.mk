# The Rust core under a fuzzer, and under sanitizers. Included by the Makefile.

.PHONY: fuzz sanitizers

SECONDS ?= 60

# The crate is in no workspace with the others.
FUZZ_CRATE := --manifest-path rust/fuzz/Cargo.toml

fuzz: ## fuzz the Rust core, a minute a target; make fuzz SECONDS=1200 ARGS="decode server"
	bash scripts/fuzz.sh $(SECONDS) $(ARGS)

sanitizers: ## run the Rust tests under AddressSanitizer and ThreadSanitizer; make sanitizers ARGS=address
	bash scripts/sanitizers.sh $(ARGS)
