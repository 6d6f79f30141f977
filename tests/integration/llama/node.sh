#!/usr/bin/env bash
# node.sh KVASIRD KVASIR_LLAMA TEST_CONNECTOR MODELS: llama.cpp through a node in another process, and without it.
set -euo pipefail
kvasird=$1 llama=$2 test_connector=$3 models=$4

work=$(mktemp -d)
node=
clean_up() {
  [ -z "$node" ] || kill -9 "$node" 2>/dev/null || true
  rm -rf "$work"
}
trap clean_up EXIT
endpoint=unix:$work/node.sock

fail() {
  printf 'FAILED: %s\n' "$*" >&2
  cat "$work"/*.log >&2 || true
  exit 1
}

start_node() {
  rm -f "$work/node.sock" # of a node that was killed: its file does not say that the new one listens
  "$kvasird" --unix-socket "$work/node.sock" --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --dram-size 256MiB \
    2>"$work/node.log" &
  node=$!
  for _ in $(seq 300); do
    [ ! -S "$work/node.sock" ] || return 0
    kill -0 "$node" 2>/dev/null || fail "kvasird ended at its start"
    sleep 0.1
  done
  fail "kvasird did not open its socket within 30 s"
}

engine() { # engine OUT ARGUMENTS...
  local out=$work/$1
  shift
  "$llama" --model "$models/dense.gguf" --json --wait-ms 20000 --timeout-ms 20000 "$@" >"$out" 2>"$out.log" ||
    fail "kvasir-llama $*"
}

field() { # field OUT NAME
  sed -n "s/.*\"$2\":\"\{0,1\}\([^,\"}]*\).*/\1/p" "$work/$1"
}

expect() { # expect OUT NAME VALUE
  local value
  value=$(field "$1" "$2")
  [ "$value" = "$3" ] || fail "$1: $2 is $value, not $3"
}

seq 1 700 >"$work/prompt"
{ seq 1 700; seq 3000 3040; } >"$work/question"

start_node

# Two engines at once on one node, then one in a new process with a question added.
engine first --tokens "$work/prompt" --endpoint "$endpoint" &
first=$!
engine beside --tokens "$work/prompt" --endpoint "$endpoint" --kv-type q8_0
wait "$first" || fail "the first engine"
expect first reused 0
expect first saved_chunks 2
expect beside reused 0
engine warm --tokens "$work/question" --endpoint "$endpoint"
expect warm reused 512
expect warm computed 229
engine alone --tokens "$work/question" --endpoint embedded: --no-load
expect alone reused 0
digest=$(field alone logits_sha256)
[ ${#digest} -eq 64 ] || fail "no digest of the logits"
expect warm logits_sha256 "$digest"

# Everything the adapter is tested with, through the node.
"$test_connector" "$models" "$endpoint" >"$work/connector.log" 2>&1 || fail "$test_connector over $endpoint"

# Without its node an engine computes, and is right.
kill -9 "$node"
wait "$node" 2>/dev/null || true
engine orphan --tokens "$work/question" --endpoint "$endpoint" --wait-ms 1000
expect orphan reused 0
expect orphan logits_sha256 "$digest"

# A new node knows nothing and takes everything again.
start_node
engine again --tokens "$work/question" --endpoint "$endpoint"
expect again reused 0
expect again saved_chunks 2
engine last --tokens "$work/question" --endpoint "$endpoint"
expect last reused 512
expect last logits_sha256 "$digest"
