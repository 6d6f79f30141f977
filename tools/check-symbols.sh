#!/bin/sh
# A shared library must export exactly the functions that its public headers declare (KVS_API): nothing of the inside, and
# nothing that was declared and then forgotten. Functions of a header that the library's symbol map does not let through
# belong to another library.
# Usage: tools/check-symbols.sh LIBRARY MAP HEADER...
set -eu
library=$1
map=$2
shift 2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# kvs_*; becomes ^kvs_ and kvs_open; becomes ^kvs_open$
sed -n -e 's/^ *\(kvs[a-z_]*\)\*; *$/^\1/p' -e 's/^ *\(kvs[a-z_]*\); *$/^\1$/p' "$map" > "$scratch/prefixes"
if [ ! -s "$scratch/prefixes" ]; then
  echo "$map: no pattern such as kvs_*; found" >&2
  exit 1
fi

nm -D --defined-only "$library" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort -u > "$scratch/exported"
# The declarations, each on one line: from KVS_API to the opening parenthesis.
cat "$@" | tr '\n' ' ' | grep -o 'KVS_API [^;(]*(' | grep -o '[A-Za-z0-9_]* *($' | tr -d ' (' | grep -f "$scratch/prefixes" |
  sort -u > "$scratch/declared"

failed=0
comm -23 "$scratch/exported" "$scratch/declared" > "$scratch/extra"
comm -13 "$scratch/exported" "$scratch/declared" > "$scratch/missing"
while read -r symbol; do
  echo "$library exports $symbol, which no public header declares with KVS_API"
  failed=1
done < "$scratch/extra"
while read -r symbol; do
  echo "$library does not export $symbol, which a public header declares"
  failed=1
done < "$scratch/missing"
if [ "$failed" = 0 ]; then
  echo "$library: $(wc -l < "$scratch/exported") public symbols, each declared"
fi
exit "$failed"
