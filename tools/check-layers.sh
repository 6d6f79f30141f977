#!/bin/sh
# Fails on every #include that the table tools/layers.txt does not allow, with file, line and a sentence.
# Usage: tools/check-layers.sh [--root DIR]     DIR: the tree to look at, this one by default
set -eu
tools=$(cd "$(dirname "$0")" && pwd)
root=$tools/..
if [ "${1:-}" = --root ]; then
  root=${2:?--root needs a folder}
fi
table=$tools/layers.txt
cd "$root"
"$tools/source-files.sh" . | awk -v table="$table" -f "$tools/source-text.awk" -f "$tools/check-layers.awk"
