#!/usr/bin/env bash
# Makes the sdist into dist/, and does with it what a distribution's packager does: unpacks it, builds, and runs tests there.
#
#   sdist.sh [arguments of pytest]
set -euo pipefail
cd "$(dirname "$0")/../.."

bin=$(bash scripts/release/tools.sh)
version=$(sed -n '0,/^version = /s/^version = "\(.*\)"/\1/p' Cargo.toml)
sdist=$PWD/dist/daxmap-$version.tar.gz
unpacked=$PWD/target/sdist

"$bin/maturin" sdist --out dist
"$bin/twine" check --strict "$sdist"
rm -rf "$unpacked"
mkdir -p "$unpacked"
tar --extract --file "$sdist" --directory "$unpacked" --strip-components 1
make --directory "$unpacked" pytest ARGS="${*:-tests/package tests/contract --numprocesses auto --dist loadfile}"
