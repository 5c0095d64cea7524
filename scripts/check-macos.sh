#!/usr/bin/env bash
# Runs clippy over the workspace for a Mac with Apple silicon, on whatever system this is: nothing is linked, so neither a
# Mac nor an SDK is needed. Where Rust's standard library for that target can't be had, it says so loudly, and succeeds.
set -euo pipefail
cd "$(dirname "$0")/.."

target=aarch64-apple-darwin
environment=(env)
options=(--locked --target "$target")

skip() {
  printf '\ncheck-macos: SKIP: the macOS code was NOT checked: %s\n\n' "$*"
  exit 0
}

if [ ! -d "$(rustc --print target-libdir --target "$target")" ]; then
  source=$(bash scripts/std-source.sh 2>&1) || skip "$source (rustup target add $target makes it needless)"
  # Unstable in cargo, hence the bootstrap switch. It is for these commands alone.
  environment+=(RUSTC_BOOTSTRAP=1 __CARGO_TESTS_ONLY_SRC_ROOT="$source")
  options+=(-Zbuild-std=std,panic_unwind -Zbuild-std-features=)
fi

# Not the target folder of other commands: each would have cargo build anew what the other has built.
export CARGO_TARGET_DIR=target/macos CARGO_PROFILE_DEV_DEBUG=0
unset PYO3_PYTHON # this system's interpreter says nothing of that one's

"${environment[@]}" cargo fetch --quiet "${options[@]}" || skip "crates can't be downloaded"
"${environment[@]}" cargo clippy --workspace --offline "${options[@]}" -- -D warnings
echo "check-macos: clippy is clean for $target"
