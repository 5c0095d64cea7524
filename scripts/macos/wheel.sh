#!/usr/bin/env bash
# Builds a wheel for Macs with Apple silicon into dist/, on whatever system this is, and checks what it imports. Zig is the
# linker; it knows macOS, so no SDK is needed. Its package is large (0.4 GB), so it has a virtual environment of its own.
set -euo pipefail
cd "$(dirname "$0")/../.."

target=aarch64-apple-darwin
tools=target/macos/tools
# Without the flag, the module would have libraries loaded of which it uses nothing.
environment=(env PATH="$PWD/$tools/bin:$PATH" MACOSX_DEPLOYMENT_TARGET=11.0
  CARGO_TARGET_AARCH64_APPLE_DARWIN_RUSTFLAGS="-Clink-arg=-Wl,-dead_strip_dylibs")

if [ ! -d "$(rustc --print target-libdir --target "$target")" ]; then
  source=$(scripts/macos/std-source.sh)
  # Unstable in cargo, hence the bootstrap switch. It is for this command alone.
  environment+=(RUSTC_BOOTSTRAP=1 __CARGO_TESTS_ONLY_SRC_ROOT="$source" CARGO_UNSTABLE_BUILD_STD=std,panic_unwind)
fi

if [ ! -e "$tools/complete" ]; then
  "${PYTHON:-python3}" -m venv "$tools"
  "$tools/bin/python" -m pip install 'cargo-zigbuild~=0.24' 'lief~=1.0' 'maturin>=1.16,<2' 'ziglang~=0.17.1'
  touch "$tools/complete"
fi

export CARGO_TARGET_DIR=target/macos
unset PYO3_PYTHON # this system's interpreter says nothing of that one's
rm -f dist/daxmap-*-macosx_*.whl
"${environment[@]}" maturin build --release --locked --zig --target "$target" --interpreter python3.11 --out dist
"$tools/bin/python" scripts/macos/imports.py dist/daxmap-*-macosx_*.whl
