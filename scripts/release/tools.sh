#!/usr/bin/env bash
# Puts into target/release-tools what builds and examines a release, and prints the folder of its commands. Zig, which links
# for every platform, is large (0.4 GB): so it is not in .venv.
set -euo pipefail
cd "$(dirname "$0")/../.."

tools=$PWD/target/release-tools
list=scripts/release/tools.txt
if [ ! "$tools/complete" -nt "$list" ]; then
  "${PYTHON:-python3}" -m venv --clear "$tools" >&2
  "$tools/bin/python" -m pip install --requirement "$list" >&2
  touch "$tools/complete"
fi
echo "$tools/bin"
