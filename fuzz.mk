# Long checks: a fuzzer, sanitizers, millions of operations. Included by the Makefile.

.PHONY: fuzz sanitizers soak

SECONDS ?= 60

# The crate is in no workspace with the others.
FUZZ_CRATE := --manifest-path rust/fuzz/Cargo.toml

fuzz: ## fuzz the Rust core, a minute a target; make fuzz SECONDS=1200 ARGS="decode server"
	bash scripts/fuzz.sh $(SECONDS) $(ARGS)

sanitizers: ## run the Rust tests under AddressSanitizer and ThreadSanitizer; make sanitizers ARGS=address
	bash scripts/sanitizers.sh $(ARGS)

soak: $(BUILT) ## ten million operations with failures: nothing may pile up, nor become slow; make soak ARGS=1000000
	PYTHONPATH=tests $(BIN)/python -m soak $(ARGS)
