#!/usr/bin/env bash
# Checks wheels with the tools of the packaging world, then with our own eyes. The first fault fails.
set -euo pipefail
cd "$(dirname "$0")/../.."

bin=$(bash scripts/release/tools.sh)
"$bin/validate-pyproject" pyproject.toml
"$bin/twine" check --strict "$@"
"$bin/check-wheel-contents" "$@"
for wheel; do
  case $wheel in
    *-abi3-*) "$bin/abi3audit" --strict --summary "$wheel" ;;
  esac
  case $wheel in
    *-macosx_*) "$bin/python" scripts/release/macho.py "$wheel" ;;
  esac
done
"$bin/python" scripts/release/contents.py "$@"
