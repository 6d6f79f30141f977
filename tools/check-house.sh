#!/bin/sh
# The rules of the house that a compiler does not check: forbidden calls, include guards, half-done marks, paths of one
# machine, a README in every folder. Notes on long files and functions are told and do not fail.
# Usage: tools/check-house.sh [--root DIR]     DIR: the tree to look at, this one by default
set -eu
tools=$(cd "$(dirname "$0")" && pwd)
root=$tools/..
if [ "${1:-}" = --root ]; then
  root=${2:?--root needs a folder}
fi
cd "$root"
failed=0
"$tools/source-files.sh" . | awk -f "$tools/source-text.awk" -f "$tools/check-house.awk" || failed=1

# Every layer, and every folder of one that holds sources, says what it is. The layer's own README speaks for its public
# headers.
for folder in $("$tools/source-files.sh" . | sed 's|/[^/]*$||' | cut -d/ -f1,2 | sort -u); do
  case $folder in
    */include | *.[ch]) continue ;;
  esac
  if [ ! -f "$folder/README.md" ]; then
    echo "$folder: no README.md: what it is, what it may use, where to start reading"
    failed=1
  fi
done

# Scripts begin with an interpreter and are executable.
script_faults=$(
  find . \( -path ./build -o -path ./.git -o -path ./.cache \) -prune -o -name '*.sh' -print | while IFS= read -r script; do
    if [ ! -x "$script" ]; then
      echo "$script: not executable"
    fi
    if ! head -n 1 "$script" | grep -q '^#!'; then
      echo "$script: the first line names no interpreter"
    fi
  done
)
if [ -n "$script_faults" ]; then
  echo "$script_faults"
  failed=1
fi
exit "$failed"
