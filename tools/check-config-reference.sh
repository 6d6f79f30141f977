#!/bin/sh
# docs/configuration.md is what kvasird prints from its configuration table; fails when the two differ.
# Usage: tools/check-config-reference.sh [--fix] KVASIRD
set -eu
fix=0
if [ "${1:-}" = --fix ]; then
  fix=1
  shift
fi
program=$1
page=$(dirname "$0")/../docs/configuration.md
scratch=$(mktemp)
trap 'rm -f "$scratch"' EXIT
"$program" --print-docs=markdown > "$scratch"
if [ "$fix" = 1 ]; then
  mkdir -p "$(dirname "$page")"
  cat "$scratch" > "$page"
elif ! diff -u "$page" "$scratch"; then
  echo "docs/configuration.md is not what kvasird prints: tools/check-config-reference.sh --fix $program"
  exit 1
fi
