# To be sourced, with $check set. skip REASON...: says loudly that the check tried nothing, and why, and ends it: with success,
# unless the variable of its name, FUZZ for fuzz, is "require" in the environment.
# shellcheck shell=bash
skip() {
  local wanted=${check^^}
  printf '\n%s: SKIPPED: nothing was tried: %s\n\n' "$check" "$*"
  [ "${!wanted:-}" != require ]
  exit
}
