#!/bin/sh
# The layer check must find what it promises to find: plants violations in a scratch tree, one at a time.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

# reset_tree: the smallest tree that keeps every rule.
reset_tree() {
  rm -rf "${scratch:?}/t"
  mkdir -p "$scratch/t/base/include/kvasir" "$scratch/t/proto/grpc" "$scratch/t/tiers/dram" "$scratch/t/server/node" \
    "$scratch/t/client/cli" "$scratch/t/client/include/kvasir" "$scratch/t/connector" "$scratch/t/tests/unit"
  cd "$scratch/t"
  echo '#include <yaml.h>' > base/config.c
  : > base/log.h
  : > base/include/kvasir/status.h
  echo '#include <kvasir/status.h>' > client/include/kvasir/client.h
  printf '#include "base/log.h"\n#include <stdint.h>\n' > proto/wire.h
  printf '#include <grpc/grpc.h>\n#include "proto/wire.h"\n' > proto/grpc/wire.c
  : > proto/grpc/wire.h
  : > tiers/store.h
  printf '#include "tiers/store.h"\n#include "proto/wire.h"\n' > tiers/dram/dram.c
  printf '/* #include "server/node/node.h" */\n#include "tiers/store.h"\n' > connector/connector.c
  : > server/node/node.h
  echo '#include "server/node/node.h"' > server/node/main.c
  printf '#include "tiers/store.h"\n#include <cjson/cJSON.h>\n' > client/cli/main.c
  : > tests/unit/helper.h
  printf '#include "helper.h"\n#include <cmocka.h>\n#include <grpc/grpc.h>\n#include "proto/grpc/wire.h"\n' > tests/unit/test_x.c
}

expect_clean() {
  if ! "$top/tools/check-layers.sh" --root "$scratch/t" > "$scratch/out" 2>&1; then
    echo "FAIL: $1: the check complains about a clean tree:"
    cat "$scratch/out"
    failed=1
  fi
}

# expect_violation NAME FILE LINE TEXT: with LINE added to FILE the check fails and names FILE and TEXT.
expect_violation() {
  reset_tree
  printf '%s\n' "$3" >> "$scratch/t/$2"
  place="$2:$(wc -l < "$scratch/t/$2"):"
  if "$top/tools/check-layers.sh" --root "$scratch/t" > "$scratch/out" 2>&1; then
    echo "FAIL: $1: not found"
    failed=1
  elif ! grep -F "$place" "$scratch/out" | grep -qF "$4"; then
    echo "FAIL: $1: found, but not said as \"$place ... $4\":"
    cat "$scratch/out"
    failed=1
  fi
}

reset_tree
expect_clean "a small tree"
expect_violation "upward include" base/log.h '#include "proto/wire.h"' "base/ may not use proto/"
expect_violation "sideways include" client/x.c '#include "tiers/store.h"' "client/ may not use tiers/"
expect_violation "a wire under the tiers" tiers/store.h '#include "proto/grpc/wire.h"' "tiers/ may not use proto/grpc/"
expect_violation "the wire's parent from a subfolder" proto/wire.h '#include "proto/grpc/wire.h"' "proto/ may not use"
expect_violation "public header of a higher layer" tiers/store.h '#include <kvasir/client.h>' "tiers/ may not use client/"
expect_violation "unknown public header" tiers/store.h '#include <kvasir/nothing.h>' "no public header"
expect_violation "third party outside its folder" server/node/node.h '#include <grpc/grpc.h>' "proto/grpc only"
expect_violation "third party above its folder" proto/wire.h '#include <grpc/grpc.h>' "proto/grpc only"
expect_violation "third party in a program on top" client/cli/main.c '#include <yaml.h>' "base only"
expect_violation "unknown third party" base/log.h '#include <glib.h>' "neither a system header"
expect_violation "not from the root" tiers/dram/dram.c '#include "dram.h"' "written from the root"
expect_violation "spaces around the hash" base/log.h '  #  include "proto/wire.h"' "base/ may not use proto/"
expect_violation "no layer at all" stray.c '#include "base/log.h"' "no folder of the table"

if [ "$failed" = 0 ]; then
  echo "check-layers finds every planted violation"
fi
exit "$failed"
