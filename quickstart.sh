#!/usr/bin/env bash
# The quick start: on a fresh Debian 12, builds Kvasir, starts a node, and shows llama.cpp skip the prefill of a prompt that another process
# computed, with the same logits. Everything it makes is under build/ and .cache/, the node ends with it.
#
#   ./quickstart.sh [--json] [--no-install] [--keep]
#     --json        the last line of the output is one JSON object
#     --no-install  trust that the packages are there
#     --keep        leave the node's folder with its log
set -euo pipefail
cd "$(dirname "$0")"

json=0 install=1 keep=0
for argument in "$@"; do
  case $argument in
    --json) json=1 ;;
    --no-install) install=0 ;;
    --keep) keep=1 ;;
    -h | --help)
      sed -n '2,8s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    *)
      echo "quickstart: no such option: $argument (see --help)" >&2
      exit 2
      ;;
  esac
done

prompt_tokens=2000 question_tokens=40
build=build/quickstart
llama=.cache/llama
model=$build/quickstart.gguf
work=$(mktemp -d "${TMPDIR:-/tmp}/kvasir-quickstart.XXXXXX")
node=""

finish() {
  local status=$?
  if [ -n "$node" ] && kill "$node" 2> /dev/null; then
    wait "$node" || true
  fi
  if [ $status != 0 ] && [ -s "$work/log" ]; then
    echo "quickstart: failed; the last lines of what was done:" >&2
    tail -n 30 "$work/log" >&2
  fi
  if [ $keep = 1 ]; then
    echo "quickstart: kept $work" >&2
  else
    rm -rf "$work"
  fi
  exit $status
}
trap finish EXIT
trap 'exit 130' INT TERM

start_s=$(date +%s)
step() {
  printf '[%3ds] %s\n' $(($(date +%s) - start_s)) "$1"
}

# Output goes to the log; it is shown when something fails.
quietly() {
  "$@" >> "$work/log" 2>&1
}

field() { # FIELD of the JSON object in file $2
  sed -n "s/.*\"$1\":\\([-0-9.e+inf]*\\).*/\\1/p" "$2"
}

if [ $install = 1 ]; then
  step "installing what is missing"
  quietly tools/install-deps.sh build quickstart
fi

step "fetching llama.cpp's library (pinned, checked)"
quietly tools/fetch-llama.sh $llama

step "building"
quietly cmake --preset release -B $build -DKVASIR_TESTS=OFF -DKVASIR_LLAMA_DIR="$PWD/$llama"
quietly cmake --build $build --target kvasird kvasirctl kvasir-llama kvasir-mkmodel
kvasird=$build/server/kvasird kvasirctl=$build/client/cli/kvasirctl
engine=$build/connector/llamacpp/kvasir-llama

step "writing a small model with random weights"
quietly $build/connector/llamacpp/kvasir-mkmodel "$model"
awk -v n=$prompt_tokens 'BEGIN { for (i = 1; i <= n; i++) print (i * 7919) % 1000 }' > "$work/prompt"
awk -v n=$question_tokens 'BEGIN { for (i = 1; i <= n; i++) print (i * 104729) % 1000 }' | cat "$work/prompt" - > "$work/question"

step "starting a node"
endpoint=unix:$work/kvasird.sock
$kvasird --listen=127.0.0.1:0 --admin-listen= --unix-socket="$work/kvasird.sock" --dram-size=256MiB >> "$work/log" 2>&1 &
node=$!
for _ in $(seq 100); do
  if quietly $kvasirctl -e "$endpoint" ping; then
    break
  fi
  kill -0 $node || exit 1
  sleep 0.1
done
quietly $kvasirctl -e "$endpoint" ping

run() { # NAME PROMPT ENGINE-OPTIONS...
  $engine --model "$model" --tokens "$work/$2" --json "${@:3}" > "$work/$1.json" 2>> "$work/log"
}
step "engine A computes a prompt of $prompt_tokens tokens and saves its KV to the node"
run a prompt --endpoint "$endpoint"
step "without Kvasir, another engine computes the same prompt and a question of $question_tokens tokens"
run cold question --no-load --no-save --logits-out "$work/logits"
step "engine B, a new process, does so with what A left"
run warm question --endpoint "$endpoint" --logits-compare "$work/logits"

total=$(field prompt_tokens "$work/warm.json")
reused=$(field reused "$work/warm.json")
computed=$(field computed "$work/warm.json")
cold_ms=$(field ttft_ms "$work/cold.json")
warm_ms=$(field ttft_ms "$work/warm.json")
difference=$(field max_abs_logit_diff "$work/warm.json")

step "done"
verdict="identical, to the last bit"
[ "$difference" = 0 ] || verdict="DIFFERENT by $difference"
awk -v a="$(field computed "$work/a.json")" -v a_ms="$(field ttft_ms "$work/a.json")" -v total="$total" -v reused="$reused" \
  -v computed="$computed" -v cold="$cold_ms" -v warm="$warm_ms" -v verdict="$verdict" 'BEGIN {
  print ""
  printf "%-44s %9s %9s %14s\n", "", "computed", "reused", "first token"
  printf "%-44s %9d %9d %11.0f ms\n", "engine A: the prompt", a, 0, a_ms
  printf "%-44s %9d %9d %11.0f ms\n", "no Kvasir: the prompt and a question", total, 0, cold
  printf "%-44s %9d %9d %11.0f ms\n", "engine B: the same, with what A left", computed, reused, warm
  printf "\nthe first token came %.1f times sooner; logits are %s\n", cold / warm, verdict
}'
echo
$kvasirctl -e "$endpoint" ls
if [ $json = 1 ]; then
  printf '{"prompt_tokens":%s,"reused":%s,"computed":%s,"ttft_cold_ms":%s,"ttft_warm_ms":%s,"max_abs_logit_diff":%s}\n' \
    "$total" "$reused" "$computed" "$cold_ms" "$warm_ms" "$difference"
fi
[ "$reused" -gt 0 ] && [ "$difference" = 0 ]
