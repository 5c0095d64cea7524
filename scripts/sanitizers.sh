#!/usr/bin/env bash
# Runs the Rust tests under AddressSanitizer and ThreadSanitizer: sanitizers.sh [address] [thread]. Where one can't be had
# here, it says so loudly, and succeeds; with SANITIZERS=require it fails.
#
# Both are unstable in rustc, hence the bootstrap switch. It is for these commands alone.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(rustc -vV | sed -n 's/^host: //p')
crates=(-p daxmap-core -p daxmap-virtiofs -p daxmap-vhost-user)
unset PYO3_PYTHON

skip() {
  printf '\nsanitizers: SKIP: nothing ran under %s: %s\n\n' "$1" "$2"
  [ "${SANITIZERS:-}" != require ]
}

# $1: the sanitizer; the rest: options of cargo. Each has a target folder of its own, since all is compiled for it.
run() {
  local sanitizer=$1
  shift
  RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=$sanitizer" CARGO_TARGET_DIR=target/$sanitizer-sanitizer \
    cargo test --locked --target "$target" "${crates[@]}" --lib --tests --no-fail-fast "$@"
}

[ $# -gt 0 ] || set -- address thread
for sanitizer in "$@"; do
  case $sanitizer in
  address)
    # What a guest may see for good is leaked, on purpose. And tests ask for more memory than there is, to be told so.
    ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 run address
    ;;
  thread)
    # The standard library has to be compiled for it, too: its locks and atomics are seen only so.
    if source=$(bash scripts/std-source.sh 2>&1); then
      # Random walks have one thread: a few are enough here.
      TSAN_OPTIONS=allocator_may_return_null=1 PROPTEST_CASES=4 __CARGO_TESTS_ONLY_SRC_ROOT=$source \
        run thread -Zbuild-std
    else
      skip thread "$source"
    fi
    ;;
  *)
    echo "sanitizers: $sanitizer is none: address, thread" >&2
    exit 2
    ;;
  esac
done
