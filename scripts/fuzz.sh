#!/usr/bin/env bash
# Has libFuzzer try each target of rust/fuzz for so many seconds: fuzz.sh SECONDS [TARGET...]. All that it makes is in target/;
# what it has learned, target/fuzz/corpus, is where the next run goes on. Where what it needs can't be had, it says so
# loudly, and succeeds, unless FUZZ=require is in the environment.
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

skip() {
  printf '\nfuzz: SKIPPED: nothing was fuzzed: %s\n\n' "$*"
  [ "${FUZZ:-}" != require ]
  exit
}

[ "$(uname)" = Linux ] || skip 'the targets are for Linux'
command -v c++ >/dev/null || skip 'libFuzzer is made of C++ (apt install g++)'

tool=$PWD/target/cargo-fuzz
export PATH=$tool/bin:$PATH
[ -x "$tool/bin/cargo-fuzz" ] || cargo install --quiet cargo-fuzz --version '^0.13' --locked --root "$tool" ||
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

found=0
for target in "${targets[@]}"; do
  program=target/fuzz/$host/release/$target
  corpus=target/fuzz/corpus/$target
  findings=target/fuzz/findings/$target
  log=target/fuzz/$target.log
  mkdir -p "$corpus" "$findings"
  echo "fuzz: $target, for $seconds s"
  marker=$(mktemp -p "$shares")
  status=0
  # To look for leaks after each input would take half of the time.
  "$program" -max_total_time="$seconds" -timeout=10 -detect_leaks=0 -print_final_stats=1 \
    -artifact_prefix="$findings/" "$corpus" "$crate/seeds/$target" >"$log" 2>&1 || status=$?
  new=$(find "$findings" -type f -newer "$marker")
  echo "fuzz: $target: $(statistic number_of_executed_units "$log") executions," \
    "$(statistic average_exec_per_sec "$log") a second, $(statistic new_units_added "$log") added to the corpus," \
    "findings: $(wc -w <<<"$new")"
  [ $status = 0 ] && continue
  found=1
  grep -a -m1 -A3 -E 'panicked at|ERROR: ' "$log" || tail -n 5 "$log"
  echo "fuzz: $target: all of it is in $log"
  for finding in $new; do
    echo "fuzz: $target: play it again: $program $finding"
  done
done
exit $found
