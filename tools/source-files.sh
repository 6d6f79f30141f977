#!/bin/sh
# Prints the C files of a tree, one a line, relative to it: what git tracks or would track, or, in a tree without git
# (a release archive, a test's scratch folder), whatever find finds outside build/.
# Usage: tools/source-files.sh [DIR]
set -eu
cd "${1:-$(dirname "$0")/..}"

# git may be missing, or refuse a checkout that belongs to somebody else.
if [ -e .git ] && git rev-parse --is-inside-work-tree > /dev/null 2>&1; then
  # A file that is deleted but not yet staged is still listed: leave it out.
  git ls-files -co --exclude-standard -- '*.c' '*.h' | sort -u | while IFS= read -r file; do
    if [ -f "$file" ]; then
      printf '%s\n' "$file"
    fi
  done
else
  find . \( -path ./build -o -path ./.cache \) -prune -o -type f \( -name '*.c' -o -name '*.h' \) -print | sed 's|^\./||' | sort
fi
