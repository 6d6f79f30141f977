#!/bin/sh
# Fails where a C file is not as clang-format writes it. Usage: tools/check-format.sh [--fix]
set -eu
cd "$(dirname "$0")/.."
mode="--dry-run -Werror"
if [ "${1:-}" = --fix ]; then
  mode=-i
fi
# shellcheck disable=SC2086 # words
tools/source-files.sh . | xargs -r -n 20 -P 2 clang-format --style=file $mode
echo "format: $(tools/source-files.sh . | wc -l) files"
