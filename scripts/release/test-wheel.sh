#!/usr/bin/env bash
# Runs the Python tests on the wheel in dist/ that fits an interpreter, in a virtual environment of its own: what is imported
# is the wheel's, not this tree's. Without a Rust toolchain it works as well, and the tests that build something are skipped.
#
#   PYTHON=python3.13 test-wheel.sh [arguments of pytest]
set -euo pipefail
cd "$(dirname "$0")/../.."

version=$(sed -n '0,/^version = /s/^version = "\(.*\)"/\1/p' Cargo.toml)
venv=$PWD/target/test-wheel
"${PYTHON:-python3}" -m venv --clear "$venv"
"$venv/bin/python" -m pip download --no-index --no-deps --only-binary :all: --find-links dist --dest "$venv" "daxmap==$version"
wheel=$(echo "$venv"/daxmap-*.whl)
"$venv/bin/python" -m pip install "$wheel[dev]"

[ $# -gt 0 ] || set -- --numprocesses auto --dist loadfile
"$venv/bin/pytest" "--wheel=$wheel" "$@" # in one word: two would be taken for a path to tests
