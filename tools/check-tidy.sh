#!/bin/sh
# clang-tidy over the sources of a build folder: .clang-tidy says which checks.
# Usage: tools/check-tidy.sh [--changed [REF]] [--build DIR]
#   --changed   only files that differ from REF (default: main) or are not committed
#   --build     a configured build folder, build/release by default
# Files that passed before and did not change since, nor any header or setting, are not looked at again.
set -eu
cd "$(dirname "$0")/.."
build=build/release
changed=""
while [ $# -gt 0 ]; do
  case $1 in
    --build)
      build=${2:?--build needs a folder}
      shift
      ;;
    --changed)
      changed=main
      if [ -n "${2:-}" ] && [ "${2#--}" = "$2" ]; then
        changed=$2
        shift
      fi
      ;;
    *)
      echo "usage: tools/check-tidy.sh [--changed [REF]] [--build DIR]" >&2
      exit 2
      ;;
  esac
  shift
done
commands=$build/compile_commands.json
if [ ! -f "$commands" ]; then
  echo "tidy: no $commands; configure first: cmake --preset release" >&2
  exit 2
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Files of the tree that this build compiles; generated ones lie in the build folder and are not ours to judge.
sed -n 's/^ *"file": "\(.*\)",\{0,1\}$/\1/p' "$commands" | sed "s|^$PWD/||" | grep '\.c$' | grep -v "^$build/" | grep -v '^/' |
  sort -u > "$scratch/files" || true
if [ -n "$changed" ]; then
  { git diff --name-only "$changed" -- '*.c'; git ls-files -o --exclude-standard -- '*.c'; } | sort -u > "$scratch/changed"
  comm -12 "$scratch/files" "$scratch/changed" > "$scratch/both"
  mv "$scratch/both" "$scratch/files"
fi
if [ ! -s "$scratch/files" ]; then
  echo "tidy: no files to look at"
  exit 0
fi

# What every file's verdict rests on besides itself.
common=$({ tools/source-files.sh . | grep '\.h$' | xargs -r cat; cat .clang-tidy tests/unit/.clang-tidy "$commands"; } | sha256sum | cut -c1-64)
mkdir -p "$build/tidy"
export build common
status=0
# shellcheck disable=SC2016 # the inner shell expands it
xargs -n 1 -P "$(nproc)" sh -c '
  stamp=$build/tidy/$(printf "%s" "$1" | tr / -)
  digest="$common $(sha256sum < "$1")"
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$digest" ]; then
    exit 0
  fi
  if clang-tidy --quiet -p "$build" "$1" > "$stamp.out" 2> /dev/null; then
    printf "%s\n" "$digest" > "$stamp"
    rm -f "$stamp.out"
  else
    rm -f "$stamp"
    cat "$stamp.out"
    exit 1
  fi' tidy < "$scratch/files" || status=1
if [ "$status" = 0 ]; then
  echo "tidy: $(wc -l < "$scratch/files") files"
fi
exit "$status"
