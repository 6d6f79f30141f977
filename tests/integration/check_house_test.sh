#!/bin/sh
# The house check must find what it promises to find: plants one fault at a time in a scratch tree.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

reset_tree() {
  rm -rf "${scratch:?}/t"
  mkdir -p "$scratch/t/base/include/kvasir" "$scratch/t/tests"
  echo '# base' > "$scratch/t/base/README.md"
  echo '# tests' > "$scratch/t/tests/README.md"
  printf '/* strcpy(a, b) */\n#ifndef KVI_BASE_LOG_H\n#define KVI_BASE_LOG_H\n#endif\n' > "$scratch/t/base/log.h"
  printf '#ifndef KVASIR_STATUS_H\n#define KVASIR_STATUS_H\n#endif\n' > "$scratch/t/base/include/kvasir/status.h"
  printf '#ifndef KVI_LIST_H\n#define KVI_LIST_H\n#endif\n' > "$scratch/t/base/list.h"
  printf 'static const char *text = "atoi(1)";\nint my_gets(void);\n' > "$scratch/t/base/log.c"
  printf 'void f(void)\n{\n  usleep(1);\n}\n' > "$scratch/t/tests/x.c"
}

# expect_fault NAME TEXT: the tree as it is now fails, and the report holds TEXT.
expect_fault() {
  if "$top/tools/check-house.sh" --root "$scratch/t" > "$scratch/out" 2>&1; then
    echo "FAIL: $1: not found"
    failed=1
  elif ! grep -qF "$2" "$scratch/out"; then
    echo "FAIL: $1: found, but not said as \"$2\":"
    cat "$scratch/out"
    failed=1
  fi
}

# expect_line NAME LINE TEXT: LINE in base/log.c is a fault.
expect_line() {
  reset_tree
  printf '%s\n' "$2" >> "$scratch/t/base/log.c"
  expect_fault "$1" "base/log.c:3: $3"
}

reset_tree
if ! "$top/tools/check-house.sh" --root "$scratch/t" > "$scratch/out" 2>&1; then
  echo "FAIL: the check complains about a clean tree:"
  cat "$scratch/out"
  failed=1
fi
expect_line "forbidden call" '  strcpy (a, b);' "strcpy()"
expect_line "second call of a line" '  f(g, atoi(x));' "atoi()"
expect_line "sleep outside tests" '  usleep(10);' "usleep()"
expect_line "half-done mark" "/* TO""DO: later */" "nothing is left half done"
expect_line "path of one machine" 'open("/home/me/x");' "a path of one machine"
reset_tree
echo 'int x;' > "$scratch/t/base/pool.h"
expect_fault "header without guard" "#ifndef KVI_BASE_POOL_H"
reset_tree
sed -i 's/KVI_BASE_LOG_H/KVI_ASE_LOG_H/' "$scratch/t/base/log.h"
expect_fault "guard of another name" "#ifndef KVI_BASE_LOG_H"
reset_tree
rm "$scratch/t/base/README.md"
expect_fault "folder without README" "base: no README.md"
reset_tree
echo 'echo hello' > "$scratch/t/base/x.sh"
expect_fault "script that cannot run" "base/x.sh: not executable"

# Length is a note, not a fault.
reset_tree
{ printf 'void f(void)\n{\n'; yes '  g();' | head -n 90; echo '}'; } >> "$scratch/t/base/log.c"
if ! "$top/tools/check-house.sh" --root "$scratch/t" | grep -q '^note: .*this function has 90 lines'; then
  echo "FAIL: no note on a function of 90 lines"
  failed=1
fi

if [ "$failed" = 0 ]; then
  echo "check-house finds every planted fault"
fi
exit "$failed"
