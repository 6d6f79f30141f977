#!/usr/bin/env bash
# The README's commands do what they say: the last line is the object that is promised, and nothing of it is left behind.
# Usage: quickstart_test.sh [--tiers]
set -euo pipefail
cd "$(dirname "$0")/../.."
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
TMPDIR=$temp ./quickstart.sh --json --no-install "$@" | tee "$temp/out"

last=$(tail -n 1 "$temp/out")
rm "$temp/out"
field() {
  printf '%s' "$last" | sed -n "s/.*\"$1\":\([-0-9.e+]*\)[,}].*/\1/p"
}
fail() {
  echo "FAIL: $1: $last" >&2
  exit 1
}
if [ "${1:-}" = --tiers ]; then
  for hits in restart_ssd_hits kill_ssd_hits redis_hits; do
    [ "$(field $hits)" = 11 ] || fail "$hits: 11 chunks of 256 tokens should have come from there"
  done
  [ "$(field ssd_hits)" -ge 5 ] || fail "memory has no room for so many chunks"
  [ "$(field max_abs_logit_diff)" = 0 ] || fail "the logits differ"
  [ -z "$(ls -A "$temp")" ] || fail "left behind: $(ls -A "$temp")"
  exit 0
fi
[ "$(field reused)" -ge 1792 ] || fail "seven chunks of 256 tokens should have been reused"
[ $(($(field reused) + $(field computed))) = "$(field prompt_tokens)" ] || fail "reused and computed are not the prompt"
[ "$(field max_abs_logit_diff)" = 0 ] || fail "the logits differ"
[ -n "$(field ttft_cold_ms)" ] || fail "the cold time is missing"
[ -n "$(field ttft_warm_ms)" ] || fail "the warm time is missing"
[ -z "$(ls -A "$temp")" ] || fail "left behind: $(ls -A "$temp")"
