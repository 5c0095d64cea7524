#!/usr/bin/env bash
# Runs the tests of Rust and of Python, and says which lines of daxmap none of them ran: coverage.sh [arguments of pytest].
#
# A line of Rust counts when the Rust tests run it, or Python's through an extension that is instrumented as well. All is in
# target/coverage, .venv has the usual extension. Where the tools can't be had it says so loudly, and succeeds; with
# COVERAGE=require it fails.
set -euo pipefail
cd "$(dirname "$0")/.."

[ $# -gt 0 ] || set -- --numprocesses auto --dist loadfile
folder=$PWD/target/coverage
host=$(rustc -vV | sed -n 's/^host: //p')
crates=(-p daxmap-core -p daxmap-virtiofs -p daxmap-vhost-user)

check=coverage
# shellcheck source=scripts/skip.sh
. scripts/skip.sh

# $1: a tool of LLVM. Prints where it is: rustup's, which fits, or else the newest of the system's that reads what rustc writes.
llvm_tool() {
  local found
  for found in "$(rustc --print target-libdir)/../bin/$1" $(compgen -G "/usr/bin/$1-*" | awk -F- '$NF >= 19' | sort -rV); do
    [ -x "$found" ] && echo "$found" && return
  done
  return 1
}

profdata=$(llvm_tool llvm-profdata) && cov=$(llvm_tool llvm-cov) ||
  skip 'no llvm-profdata and llvm-cov (rustup component add llvm-tools, or apt install llvm-19)'

mkdir -p "$folder"
rm -rf "$folder"/{profiles,python,dist,*.lcov}
mkdir "$folder"/{profiles,python}

# Counters are in memory that is shared with the profile (%c): so what a process has run is known however it ends, and what
# its forks have run, too. All processes of one binary share a profile (%m).
export LLVM_PROFILE_FILE=$folder/profiles/%m%c.profraw
# --target keeps the flags from build scripts and macros, which run in the compiler.
export RUSTFLAGS='-C instrument-coverage -C llvm-args=-runtime-counter-relocation' CARGO_TARGET_DIR=$folder/rust
export CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_PROFILE_DEV_DEBUG=false

cargo_test() {
  env -u PYO3_PYTHON cargo test --locked --quiet --target "$host" "${crates[@]}" --lib --tests "$@"
}
cargo_test --no-run --message-format=json | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' >"$folder/binaries"
.venv/bin/maturin build --target "$host" --interpreter .venv/bin/python --out "$folder/dist"
failed=
cargo_test --no-fail-fast || failed=yes
unset RUSTFLAGS CARGO_TARGET_DIR CARGO_PROFILE_DEV_OPT_LEVEL CARGO_PROFILE_DEV_DEBUG

wheel=$(echo "$folder"/dist/*.whl)
.venv/bin/python -m venv "$folder/venv"
"$folder/venv/bin/pip" install --force-reinstall --no-deps "$wheel"
"$folder/venv/bin/pip" install "$wheel[dev]"
# Tests that count instructions, or what a process does at its end, meet the work of the instruments as well. `make test` says
# what fails; here it is what was run that counts.
env -u VIRTUAL_ENV -u PYO3_PYTHON COVERAGE_FILE="$folder/python/data" COVERAGE_RCFILE="$PWD/pyproject.toml" \
  "$folder/venv/bin/coverage" run -m pytest --wheel="$wheel" \
  --ignore=tests/contract/test_counts_in_user_space.py \
  --deselect=tests/faults/test_exit.py::test_exit_with_threads_in_python_code_that_rust_called "$@" ||
  echo 'coverage: the tests that failed may have done so because they were measured: make test is what counts'

"$profdata" merge --sparse "$folder"/profiles/*.profraw --output "$folder/rust.profdata"
mapfile -t objects < <(cat "$folder/binaries"; ls "$folder"/venv/lib/python3*/site-packages/daxmap/*.so)
"$cov" export --format=lcov --instr-profile "$folder/rust.profdata" "${objects[@]/#/--object=}" \
  --sources rust/*/src >"$folder/rust.lcov"
export COVERAGE_FILE=$folder/python/data
"$folder/venv/bin/coverage" combine --quiet
"$folder/venv/bin/coverage" lcov --quiet --include "python/daxmap/*" -o "$folder/python.lcov"

.venv/bin/python scripts/uncovered.py "$folder/rust.lcov" "$folder/python.lcov" || failed=yes
[ -z "$failed" ]
