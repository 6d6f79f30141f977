#!/bin/sh
# Runs shellcheck over the scripts of the tree. Usage: tools/check-scripts.sh
set -eu
cd "$(dirname "$0")/.."
find . \( -path ./build -o -path ./.git -o -path ./.cache \) -prune -o -type f \( -name '*.sh' -o -path ./.ci/run \) -print |
  sort | xargs -r shellcheck
