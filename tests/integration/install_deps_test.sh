#!/bin/sh
# install-deps.sh with stand-ins for dpkg-query, apt-get, id and sudo: it installs what is missing and nothing else, leaves
# apt-get alone when nothing is, refreshes stale package lists, and says what to do when it may not install.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0
mkdir "$scratch/bin"

# Everything is installed but what the file "missing" names.
cat > "$scratch/bin/dpkg-query" << 'STUB'
#!/bin/sh
for package; do :; done
if grep -qx "$package" "$SCRATCH/missing"; then exit 1; fi
printf installed
STUB
cat > "$scratch/bin/apt-get" << 'STUB'
#!/bin/sh
echo "$*" >> "$SCRATCH/calls"
case $1 in
  update) : > "$SCRATCH/fresh" ;;
  install) [ -e "$SCRATCH/fresh" ] && [ ! -e "$SCRATCH/broken" ] ;;
esac
STUB
cat > "$scratch/bin/id" << 'STUB'
#!/bin/sh
cat "$SCRATCH/uid"
STUB
chmod +x "$scratch/bin/"*

# try NAME EXPECTED_STATUS SET...: runs the script from a known state; output in $scratch/out, apt-get's calls in calls.
try() {
  name=$1 expected=$2
  shift 2
  : > "$scratch/calls"
  status=0
  SCRATCH=$scratch PATH=$scratch/bin:/usr/bin:/bin "$top/tools/install-deps.sh" "$@" > "$scratch/out" 2>&1 || status=$?
  if [ "$status" != "$expected" ]; then
    echo "FAIL: $name: ends with $status, not $expected:"
    cat "$scratch/out"
    failed=1
  fi
}

expect() { # expect FILE TEXT
  if ! grep -qF -- "$2" "$scratch/$1"; then
    echo "FAIL: $name: no \"$2\" in $1:"
    cat "$scratch/$1"
    failed=1
  fi
}

echo 0 > "$scratch/uid"
: > "$scratch/missing"
try "nothing missing" 0 build test fuzz run
[ ! -s "$scratch/calls" ] || { echo "FAIL: apt-get was called though nothing is missing" && failed=1; }

printf 'libyaml-dev\nclang\n' > "$scratch/missing"
: > "$scratch/fresh"
try "one missing" 0 build
expect calls "install -y -q --no-install-recommends libyaml-dev"
[ "$(wc -l < "$scratch/calls")" = 1 ] || { echo "FAIL: more calls than one" && failed=1; }

rm "$scratch/fresh"
try "stale lists" 0 build fuzz
expect calls "update"
expect calls "libyaml-dev clang"

: > "$scratch/broken"
try "not to be had" 1 build
expect out "could not install: libyaml-dev"
rm "$scratch/broken"

try "unknown set" 2 bulid
expect out 'no set of packages "bulid"'

# Only where there is no sudo: with one, the script is right to try it.
if ! command -v sudo > /dev/null; then
  echo 1000 > "$scratch/uid"
  try "neither root nor sudo" 1 build
  expect out "apt-get install libyaml-dev"
fi

if [ "$failed" = 0 ]; then
  echo "install-deps installs what is missing and no more"
fi
exit "$failed"
