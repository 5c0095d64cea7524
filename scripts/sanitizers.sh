#!/usr/bin/env bash
# Runs tests under AddressSanitizer and ThreadSanitizer: sanitizers.sh [address] [thread] [python-address] [python-thread].
# The first two are the Rust tests, the others Python's, over an extension that is compiled for the sanitizer. Where one
# can't be had here, it says so loudly, and succeeds; with SANITIZERS=require it fails.
#
# Both are unstable in rustc, hence the bootstrap switch. It is for these commands alone.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(rustc -vV | sed -n 's/^host: //p')
with_threads=(tests/{contract,file_server/hostile}/test_threads.py tests/hypervisor/test_{many_threads,calls_back}.py
  tests/faults/test_interrupts.py tests/file_server/test_dax.py tests/hvf/test_end.py tests/serve/test_life.py
  tests/guest/test_dirty_log.py)
crates=(-p daxmap-core -p daxmap-virtiofs -p daxmap-vhost-user)

skip() {
  printf '\nsanitizers: SKIP: nothing ran under %s: %s\n\n' "$1" "$2"
  [ "${SANITIZERS:-}" != require ] || exit 1
}

# $1: the sanitizer; the rest: a command that compiles. Each has a target folder of its own, since all is compiled for it. Tests
# that take the place of what a sanitizer takes the place of itself are left out: `cfg(sanitized)`.
compile_for() {
  RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=$1 --cfg sanitized" CARGO_TARGET_DIR=target/$1-sanitizer "${@:2}"
}

# $1: the sanitizer; the rest: options of cargo.
rust_tests() {
  compile_for "$1" env -u PYO3_PYTHON \
    cargo test --locked --target "$target" "${crates[@]}" --lib --tests --no-fail-fast "${@:2}"
}

# $1: the sanitizer, $2: how rustc abbreviates it, $3: arguments of pytest; the rest: options of cargo.
#
# The sanitizer's runtime has to be part of the program, so the program is a Python of ours, linked with rustc's runtime.
# Neither Python nor other libraries are compiled for it: it sees the accesses of Rust, and everybody's allocations,
# locks and system calls.
python_tests() {
  local sanitizer=$1 folder=$PWD/target/$1-sanitizer/python
  local runtime libpython python tests
  runtime=$(compgen -G "$(rustc --print target-libdir)/librustc-*_rt.$2.a") || {
    skip "python-$sanitizer" 'this Rust has no runtime for it'
    return
  }
  read -ra tests <<<"$3"
  shift 3
  rm -rf "$folder"
  compile_for "$sanitizer" .venv/bin/maturin build --target "$target" --interpreter .venv/bin/python --out "$folder/dist" "$@"
  .venv/bin/python -m venv "$folder/venv"
  "$folder/venv/bin/pip" install "$(echo "$folder"/dist/*.whl)[dev]"

  read -ra libpython <<<"$(.venv/bin/python -c 'import sysconfig
print("-L{LIBDIR} -Wl,-rpath,{LIBDIR} -lpython{LDVERSION}".format_map(sysconfig.get_config_vars()))')"
  cc -x c - -x none -rdynamic -o "$folder/program" -Wl,--whole-archive "$runtime" -Wl,--no-whole-archive "${libpython[@]}" -lm \
    <<<'int Py_BytesMain(int, char **); int main(int count, char **words) { return Py_BytesMain(count, words); }' || {
    skip "python-$sanitizer" 'no libpython to link with'
    return
  }
  for python in "$folder"/venv/bin/python*; do cp --remove-destination "$folder/program" "$python"; done

  mkdir "$folder/reports"
  local status=0
  # What is counted there is counted with what the sanitizer does.
  env -u VIRTUAL_ENV -u PYO3_PYTHON PATIENCE=10 ASAN_OPTIONS="${ASAN_OPTIONS:-}:log_path=$folder/reports/of" \
    TSAN_OPTIONS="${TSAN_OPTIONS:-}:log_path=$folder/reports/of" "$folder/venv/bin/pytest" \
    --timeout 1200 -o faulthandler_timeout=1800 --numprocesses auto --dist loadfile --ignore-glob='*/test_counts*' \
    "${tests[@]}" || status=$?
  # Of every process that ran, whatever became of it.
  cat "$folder"/reports/* 2>/dev/null && return 1
  return $status
}

# $1: what to skip where it can't be had: the standard library, compiled for ThreadSanitizer too, which sees its locks and
# atomics only so. The rest: a command that compiles it.
with_std() {
  local source
  source=$(bash scripts/std-source.sh 2>&1) || {
    skip "$1" "$source"
    return
  }
  __CARGO_TESTS_ONLY_SRC_ROOT=$source "${@:2}"
}

[ $# -gt 0 ] || set -- address thread python-address python-thread
for sanitizer in "$@"; do
  case $sanitizer in
  address)
    # What a guest may see for good is leaked, on purpose. And tests ask for more memory than there is, to be told so.
    ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 rust_tests address
    ;;
  thread)
    # Random walks have one thread: a few are enough here. So have the tests in which every call fails.
    TSAN_OPTIONS=allocator_may_return_null=1 PROPTEST_CASES=4 with_std thread \
      rust_tests thread -Zbuild-std -- --skip every_call_fails
    ;;
  python-address)
    # Objects of Python's, too, are to be blocks of malloc's.
    PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 \
      python_tests address asan 'tests/contract tests/dispatcher tests/file_server'
    ;;
  python-thread)
    TSAN_OPTIONS=allocator_may_return_null=1:die_after_fork=0 with_std python-thread \
      python_tests thread tsan "${with_threads[*]}" -Zbuild-std
    ;;
  *)
    echo "sanitizers: $sanitizer is none: address, thread, python-address, python-thread" >&2
    exit 2
    ;;
  esac
done
