#!/bin/sh
# Makes a man page of its source: sets the version, and puts the program's own options (PROGRAM --print-docs=man, which
# prints them from its configuration table as man page text) in the place of the line .\" @OPTIONS@.
# Usage: tools/build-man.sh VERSION SOURCE PAGE [PROGRAM]
set -eu
version=$1
source=$2
page=$3
program=${4:-}
mkdir -p "$(dirname "$page")"
options=$page.options
: > "$options"
if [ -n "$program" ] && ! "$program" --print-docs=man > "$options"; then
  echo "$program --print-docs=man failed: no man page without its options" >&2
  exit 1
fi
sed -e "s/@VERSION@/$version/g" -e "/^\.\\\\\" @OPTIONS@/{
r $options
d
}" "$source" > "$page.new"
mv "$page.new" "$page"
rm -f "$options"
