#!/bin/sh
# One public header must compile alone, twice included, without a warning, as the language named.
# Usage: tools/check-header.sh c11|c++17 HEADER [-I DIR]...
set -eu
standard=$1
header=$2
shift 2
case $standard in
  c++*) compiler=${CXX:-c++} language=c++ ;;
  *) compiler=${CC:-cc} language=c ;;
esac
case $header in
  */include/*) name=${header##*/include/} ;;
  *) name=$header ;;
esac
printf '#include <%s>\n#include <%s>\nint kvi_header_stands_alone;\n' "$name" "$name" |
  "$compiler" -std="$standard" -Wall -Wextra -pedantic -Werror "$@" -x "$language" -fsyntax-only -
