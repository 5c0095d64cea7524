#!/usr/bin/env bash
# Builds wheels into dist/, on whatever system this is, and checks them: of the platforms that are named, or of all.
#
#   wheels.sh [manylinux-x86_64] [manylinux-aarch64] [musllinux-x86_64] [musllinux-aarch64] [macos-arm64] [manylinux-ppc64le]
#
# The last is not released: `make ppc64le` runs the tests on it.
#
# Each platform has two: one of the stable ABI for CPython 3.11 and later, and one for free-threaded CPython 3.14, which has no
# stable ABI. maturin knows both interpreters, so neither has to be here. Zig is the linker: it brings the symbols of old glibc
# versions, of musl and of macOS, so that no other system is needed.
set -euo pipefail
cd "$(dirname "$0")/../.."

[ $# -gt 0 ] || set -- manylinux-x86_64 manylinux-aarch64 musllinux-x86_64 musllinux-aarch64 macos-arm64
bin=$(bash scripts/release/tools.sh)
export PATH=$bin:$PATH
export CARGO_TARGET_DIR=$PWD/target/wheels
export MACOSX_DEPLOYMENT_TARGET=11.0
unset PYO3_PYTHON # this system's interpreter says nothing of those that the wheels are for
registry=${CARGO_HOME:-$HOME/.cargo}/registry/src
# The same sources make the same wheel: archive members carry the release's date, not that of the build.
date=$(sed -n 's/^## [0-9.]* - //p' CHANGELOG.md | head -n 1)
SOURCE_DATE_EPOCH=$("$bin/python" -c "from datetime import datetime as d; print(int(d.fromisoformat('${date}T00:00Z').timestamp()))")
export SOURCE_DATE_EPOCH

# Builds a stand-in of GCC's libgcc_s.so.1 for linking, and prints its path. $1 is a target of Rust.
#
# Zig would link an unwinder of its own into the module. glibc unwinds the stack of a thread that calls pthread_exit(3), as
# CPython before 3.14 does with those that are left at its end, with libgcc_s's, and the two can't read each other's data:
# a frame of the module in such a stack would be a crash. So the module is to use libgcc_s, as all of a process does.
libgcc_s() {
  local map=scripts/release/libgcc_s.map folder=$CARGO_TARGET_DIR/libgcc_s/$1
  mkdir -p "$folder"
  grep -o '_Unwind_[A-Za-z_]*' "$map" | sed 's/.*/void &(void) {}/' >"$folder/libgcc_s.c"
  "$bin/python" -m ziglang cc -target "${1/-unknown/}" -shared -nostdlib -Wl,-soname,libgcc_s.so.1 \
    "-Wl,--version-script=$map" -o "$folder/libgcc_s.so.1" "$folder/libgcc_s.c"
  echo "$folder/libgcc_s.so.1"
}

# $1 is a target of Rust, $2 the platform tag that the wheel has to earn.
build() {
  local target=$1 tag=$2 source unwinder
  local environment=(env)
  # Panic messages name source files. These are the same wherever the wheel was built.
  local flags=("--remap-path-prefix=$PWD=." "--remap-path-prefix=$registry=crates")
  if [ ! -d "$(rustc --print target-libdir --target "$target")" ]; then
    source=$(bash scripts/std-source.sh)
    flags+=("--remap-path-prefix=$source=/rustc/library")
    # Unstable in cargo, hence the bootstrap switch. It is for this command alone.
    environment+=(RUSTC_BOOTSTRAP=1 __CARGO_TESTS_ONLY_SRC_ROOT="$source" CARGO_UNSTABLE_BUILD_STD=std,panic_unwind)
  fi
  case $target in
    # Without the flag, the module would have libraries loaded of which it uses nothing.
    *-gnu)
      unwinder=$(libgcc_s "$target")
      flags+=("-Clink-arg=$unwinder")
      ;;
    *-apple-*) flags+=(-Clink-arg=-Wl,-dead_strip_dylibs) ;;
  esac
  environment+=(CARGO_ENCODED_RUSTFLAGS="$(IFS=$'\x1f' && echo "${flags[*]}")")
  "${environment[@]}" maturin build --release --locked --zig --target "$target" --compatibility "$tag" --auditwheel check \
    --interpreter python3.11 --interpreter python3.14t --out "$out"
}

mkdir -p dist target
out=$(mktemp -d target/wheels-out.XXXXXX)
trap 'rm -rf "$out"' EXIT
for platform; do
  case $platform in
    manylinux-x86_64) build x86_64-unknown-linux-gnu manylinux2014 ;;
    manylinux-aarch64) build aarch64-unknown-linux-gnu manylinux2014 ;;
    musllinux-x86_64) build x86_64-unknown-linux-musl musllinux_1_2 ;;
    musllinux-aarch64) build aarch64-unknown-linux-musl musllinux_1_2 ;;
    manylinux-ppc64le) build powerpc64le-unknown-linux-gnu manylinux_2_28 ;; # Zig has no older glibc for it
    macos-arm64) build aarch64-apple-darwin pypi ;;
    *) echo "wheels: $platform is no platform that wheels are built for: see $0" >&2 && exit 2 ;;
  esac
  "$bin/python" scripts/release/sbom.py "$out"/*.whl
  bash scripts/release/check.sh "$out"/*.whl
  mv "$out"/*.whl dist/
done
