#!/usr/bin/env bash
# Changes core, file server and device, or what the arguments name, in one small way after the other, and has their tests find out:
# mutants.sh [ARGUMENT OF CARGO-MUTANTS...].
# What is mutated, and which mutants can't be told from the original, is in rust/mutants.toml. The tool and what it tells
# are in target/. Where it can't be had, this says so loudly, and succeeds, unless MUTANTS=require is in the environment.
set -euo pipefail
cd "$(dirname "$0")/.."

check=mutants
# shellcheck source=scripts/skip.sh
. scripts/skip.sh

[ "$(uname)" = Linux ] || skip 'most of the code is for Linux'

tool=$PWD/target/cargo-mutants
export PATH=$tool/bin:$PATH
[ -x "$tool/bin/cargo-mutants" ] || cargo install --quiet cargo-mutants --version '^27.1' --locked --root "$tool" ||
  skip 'cargo-mutants could not be installed'
cargo fetch --quiet --locked || skip "crates can't be downloaded"

# A few random walks, the same ones for each mutant.
export PROPTEST_CASES=64 PROPTEST_RNG_SEED=1 PROPTEST_MAX_SHRINK_ITERS=0
unset PYO3_PYTHON

# A mutant may allocate for ever, and what its tests made stays when they fail: 4 GiB of memory, and a folder of its own.
ulimit -d 4194304
TMPDIR=$(mktemp -d -p /dev/shm daxmap-mutants.XXXXXX 2>/dev/null || mktemp -d)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT

[ $# -gt 0 ] || set -- --package daxmap-core --package daxmap-virtiofs --package daxmap-vhost-user
status=0
cargo mutants --config rust/mutants.toml --output target --minimum-test-timeout 20 --timeout-multiplier 3 "$@" || status=$?
# 3 says that tests hung for a mutant, which is to notice it; and it hides that others live.
[ $status != 3 ] || [ -s target/mutants.out/missed.txt ] || status=0
exit $status
