#!/bin/sh
# Makes a man page of its source: sets the version, and puts the program's own options (PROGRAM --print-man-options, which
# prints them from its configuration table as mdoc) in the place of the line .\" @OPTIONS@.
# Usage: tools/build-man.sh VERSION SOURCE PAGE [PROGRAM]
set -eu
version=$1
source=$2
page=$3
program=${4:-}
mkdir -p "$(dirname "$page")"
options=$page.options
: > "$options"
if [ -n "$program" ] && ! "$program" --print-man-options > "$options"; then
  echo "$program --print-man-options failed: no man page without its options" >&2
  exit 1
fi
sed -e "s/@VERSION@/$version/g" -e "/^\.\\\\\" @OPTIONS@/{
r $options
d
}" "$source" > "$page.new"
mv "$page.new" "$page"
rm -f "$options"
