#!/usr/bin/env bash
# The quick start: on a fresh Debian 12, builds Kvasir, starts a node, and shows llama.cpp skip the prefill of a prompt that another process
# computed, with the same logits. Everything it makes is under build/ and .cache/, the node ends with it.
#
#   ./quickstart.sh [--tiers] [--json] [--no-install] [--keep]
#     --tiers       shows the tiers instead: a prompt that memory does not hold, from SSD, after a restart and a kill -9, and from Redis
#     --json        the last line of the output is one JSON object
#     --no-install  trust that the packages are there
#     --keep        leave the node's folder with its log
set -euo pipefail
cd "$(dirname "$0")"

json=0 install=1 keep=0 tiers=0
for argument in "$@"; do
  case $argument in
    --tiers) tiers=1 ;;
    --json) json=1 ;;
    --no-install) install=0 ;;
    --keep) keep=1 ;;
    -h | --help)
      sed -n '2,9s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    *)
      echo "quickstart: no such option: $argument (see --help)" >&2
      exit 2
      ;;
  esac
done

prompt_tokens=2000 question_tokens=40
[ $tiers = 0 ] || prompt_tokens=3000
build=build/quickstart
llama=.cache/llama
model=$build/quickstart.gguf
work=$(mktemp -d "${TMPDIR:-/tmp}/kvasir-quickstart.XXXXXX")
declare -A started=() # processes by name

stop() { # NAME [SIGNAL]
  if kill "-${2:-TERM}" "${started[$1]}" 2> /dev/null; then
    { wait "${started[$1]}" || true; } 2> /dev/null
  fi
  unset "started[$1]"
}

finish() {
  local status=$? name
  for name in "${!started[@]}"; do
    stop "$name"
  done
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
  sets=(build quickstart)
  [ $tiers = 0 ] || sets+=(quickstart-tiers)
  quietly tools/install-deps.sh "${sets[@]}"
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

start_node() { # NAME OPTIONS...
  local name=$1
  $kvasird --listen=127.0.0.1:0 --admin-listen= --unix-socket="$work/$name.sock" "${@:2}" >> "$work/log" 2>&1 &
  started[$name]=$!
  for _ in $(seq 100); do
    if quietly $kvasirctl -e "unix:$work/$name.sock" ping; then
      break
    fi
    kill -0 "${started[$name]}" || exit 1
    sleep 0.1
  done
  quietly $kvasirctl -e "unix:$work/$name.sock" ping
}

run() { # NAME PROMPT ENGINE-OPTIONS...
  $engine --model "$model" --tokens "$work/$2" --json "${@:3}" > "$work/$1.json" 2>> "$work/log"
}

show_reuse() {
  local endpoint=unix:$work/kvasird.sock total reused computed cold_ms warm_ms difference verdict
  step "starting a node"
  start_node kvasird --dram-size=256MiB
  echo "   to look at it meanwhile: $kvasirctl -e $endpoint stats --watch"
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
}

# ---- with --tiers ----

start_redis() {
  local try
  for try in 1 2 3 4 5; do
    redis_port=$((20000 + (RANDOM * 7 + try) % 10000))
    redis-server --port $redis_port --bind 127.0.0.1 --dir "$work" --save '' --appendonly no >> "$work/log" 2>&1 &
    started[redis]=$!
    for _ in $(seq 50); do
      if [ "$(redis-cli -p $redis_port config get dir 2> /dev/null | tail -n 1)" = "$work" ]; then
        return 0
      fi
      kill -0 "${started[redis]}" 2> /dev/null || break # the port is another's
      sleep 0.1
    done
    stop redis
  done
  echo "quickstart: redis-server does not start" >&2
  exit 1
}

count() { # NODE NAME TIER: one of the counters of kvasirctl tiers
  $kvasirctl -e "unix:$work/$1.sock" --json tiers | tr '{' '\n' |
    sed -n "/\"name\":\"kvasir_tier_$2\"/{/tier=..$3/s/.*\"value\":\([-0-9.e+]*\).*/\1/p}"
}

# Writing goes on in the background; waits until nothing of it is left.
settle() { # NODE
  local tier
  for _ in $(seq 300); do
    for tier in ssd redis; do
      if [ "$(count "$1" write_queue $tier)$(count "$1" operations $tier)" != 00 ]; then
        sleep 0.1
        continue 2
      fi
    done
    return 0
  done
  echo "quickstart: the node does not come to its end of writing" >&2
  exit 1
}

# A new engine with the same prompt; a line of the closing table.
ask() { # NAME NODE TEXT
  local tier before=() after=()
  step "$3"
  for tier in dram ssd redis; do before+=("$(count "$2" hits_total $tier)"); done
  run "$1" question --endpoint "unix:$work/$2.sock" --logits-compare "$work/logits"
  for tier in dram ssd redis; do after+=("$(count "$2" hits_total $tier)"); done
  hits=("$((after[0] - before[0]))" "$((after[1] - before[1]))" "$((after[2] - before[2]))")
  [ "$(field max_abs_logit_diff "$work/$1.json")" = 0 ] || difference=$(field max_abs_logit_diff "$work/$1.json")
  row "$1" "$4" "${hits[@]}"
}

row() { # NAME TEXT DRAM SSD REDIS
  printf '%-46s %9d %9d %6s %6s %6s %11.0f ms\n' "$2" "$(field computed "$work/$1.json")" "$(field reused "$work/$1.json")" \
    "$3" "$4" "$5" "$(field ttft_ms "$work/$1.json")" >> "$work/table"
}

show_tiers() {
  local difference=0 hits=() first_ssd restart_ssd kill_ssd chunks node_options
  step "starting Redis, and node A: 6 MiB of memory, which the prompt does not fit into, and a directory of 256 MiB"
  start_redis
  node_options=(--chunk-max-size=2MiB --ssd-size=256MiB --ssd-log-file-size=16MiB
    --redis-mode=single "--redis-addresses=127.0.0.1:$redis_port" --redis-lookup-timeout=5s)
  start_node a --dram-size=6MiB --ssd-paths="$work/ssd-a" "${node_options[@]}"
  step "without Kvasir, an engine computes a prompt of $((prompt_tokens + question_tokens)) tokens"
  run cold question --no-load --no-save --logits-out "$work/logits"
  row cold "no Kvasir" - - -
  ask save a "an engine computes it and saves its KV to node A, chunk by chunk" "node A is empty"
  settle a
  chunks=$(((prompt_tokens + question_tokens) / 256))
  # When the disk is slower than the engine, memory had to let go of what was not written yet: the next one saves that again.
  for _ in 1 2 3 4 5; do
    [ "$(count a objects ssd)" -lt $chunks ] || [ "$(redis-cli -p "$redis_port" dbsize)" -lt $chunks ] || break
    run again question --endpoint "unix:$work/a.sock"
    settle a
  done
  ask ssd a "another engine, a new process: what left memory comes from SSD" "node A"
  first_ssd=${hits[1]}
  step "node A is stopped and started again"
  stop a
  start_node a --dram-size=6MiB --ssd-paths="$work/ssd-a" "${node_options[@]}"
  ask restart a "another engine: memory is empty, all comes from SSD" "node A, restarted"
  restart_ssd=${hits[1]}
  step "node A is killed (kill -9) and started again"
  stop a KILL
  start_node a --dram-size=6MiB --ssd-paths="$work/ssd-a" "${node_options[@]}"
  ask killed a "another engine" "node A, killed and restarted"
  kill_ssd=${hits[1]}
  step "node B starts: nothing in memory, nothing on SSD, the same Redis"
  start_node b --dram-size=64MiB --ssd-paths="$work/ssd-b" "${node_options[@]}"
  ask redis b "another engine asks node B, which finds it all in Redis" "node B, which has never seen it"

  step "done"
  printf '\n%-46s %9s %9s %6s %6s %6s %14s\n' "" computed reused dram ssd redis "first token"
  cat "$work/table"
  if [ "$difference" = 0 ]; then
    printf '\ndram, ssd, redis: chunks by where they came from. All logits are identical, to the last bit.\n'
  else
    printf '\nlogits are DIFFERENT by %s\n' "$difference"
  fi
  printf '\n$ kvasirctl tiers      at node A, since it was killed\n'
  $kvasirctl -e "unix:$work/a.sock" tiers
  printf '\n$ kvasirctl tiers      at node B\n'
  $kvasirctl -e "unix:$work/b.sock" tiers
  if [ $json = 1 ]; then
    printf '{"chunks":%s,"ssd_hits":%s,"restart_ssd_hits":%s,"kill_ssd_hits":%s,"redis_hits":%s,"ttft_cold_ms":%s,"ttft_ssd_ms":%s,"ttft_redis_ms":%s,"max_abs_logit_diff":%s}\n' \
      "$chunks" "$first_ssd" "$restart_ssd" "$kill_ssd" "${hits[2]}" "$(field ttft_ms "$work/cold.json")" \
      "$(field ttft_ms "$work/restart.json")" "$(field ttft_ms "$work/redis.json")" "$difference"
  fi
  [ "$first_ssd" -gt 0 ] && [ "$restart_ssd" = $chunks ] && [ "$kill_ssd" = $chunks ] && [ "${hits[2]}" = $chunks ] &&
    [ "$difference" = 0 ]
}

if [ $tiers = 1 ]; then
  show_tiers
else
  show_reuse
fi
