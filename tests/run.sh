#!/usr/bin/env bash
# Builds everything and runs every test: what CI runs, and what to run before a change is handed in.
#
# Usage: tests/run.sh [OPTION]...          without options: all of it
#   --quick          house checks and the release tests
#   --preset P       house checks and the tests of one preset: release, debug, asan or tsan
#   --asan, --tsan   the same as --preset asan, --preset tsan; together: both
#   --fuzz SECONDS   how long each fuzzer runs (default 60; 0: not at all); alone: nothing but the fuzzers
#   --soak MINUTES   how long the soak runs over all tiers with faults on and off (default 2; 0: not at all); alone: the release
#                    build and nothing but this. KVASIR_SOAK_SEED repeats the choices of an earlier one
#   --all            all of it, as without options: to say --fuzz, --soak, --long or --no-llama beside it
#   --long           the tests with the label "long" too, and deadlines by the millisecond: for a quiet machine
#   --no-llama       without llama.cpp: leaves out the engine's tests, needs no download
#   --engines        a real vLLM with Kvasir behind it, a subset of 10 minutes; alone: the release build and nothing but this
#   --engines=full   the same, the whole matrix: an hour or more
#   --no-engines     without vLLM: needs no download of 3 GB and no 8 GB of disk
#   --no-install     does not install missing packages
#
# Prints a line for each stage, a table at the end, and last a line "N passed, N failed". The exit status is 0 if none
# failed. What each stage printed is kept in build/logs/.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
export LC_ALL=C.UTF-8

presets=() fuzz_seconds="" soak_minutes="" long=0 llama=1 engines="" install=1 quick=0 all=0
while [ $# -gt 0 ]; do
  case $1 in
    --quick) quick=1 ;;
    --preset) presets+=("${2:?--preset needs a name}") && shift ;;
    --asan) presets+=(asan) ;;
    --tsan) presets+=(tsan) ;;
    --fuzz) fuzz_seconds=${2:?--fuzz needs seconds} && shift ;;
    --soak) soak_minutes=${2:?--soak needs minutes} && shift ;;
    --all) all=1 ;;
    --long) long=1 && export KVASIR_STRICT_DEADLINES=1 ;;
    --no-llama) llama=0 ;;
    --engines) engines=subset ;;
    --engines=full) engines=full ;;
    --no-engines) engines=none ;;
    --no-install) install=0 ;;
    -h | --help)
      sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"
      exit 0
      ;;
    *)
      echo "tests/run.sh: unknown option $1; --help lists them" >&2
      exit 2
      ;;
  esac
  shift
done

# What to run: house, presets, tidy, soak, fuzz, packages, engines.
stages=()
if [ $quick = 1 ]; then
  stages=(house)
  [ ${#presets[@]} -gt 0 ] || presets=(release)
elif [ ${#presets[@]} -gt 0 ]; then
  stages=(house)
elif [ -n "$fuzz_seconds" ] && [ $all = 0 ]; then
  stages=(fuzz)
elif [[ $engines = subset || $engines = full || -n $soak_minutes ]] && [ $all = 0 ]; then
  stages=()
else
  stages=(house tidy soak packages fuzz)
  presets=(release asan tsan)
  : "${engines:=subset}"
fi
: "${engines:=none}"
if [ -n "$fuzz_seconds" ] && [[ " ${stages[*]} " != *" fuzz "* ]]; then
  stages+=(fuzz)
fi
if [ -n "$soak_minutes" ] && [[ " ${stages[*]} " != *" soak "* ]]; then
  stages+=(soak)
fi
: "${soak_minutes:=2}"
[ "$soak_minutes" != 0 ] || stages=("${stages[@]/soak/}")
: "${fuzz_seconds:=60}"
[ "$fuzz_seconds" -gt 0 ] 2> /dev/null || stages=("${stages[@]/fuzz/}")

jobs=$(nproc)
logs=build/logs
mkdir -p "$logs"
passed=0 failed=0
table=()      # rows of the closing table
failures=()   # names of what failed
stage_start=0 # seconds

begin() { # begin NAME
  stage_start=$SECONDS
  printf '%s  %-28s ' "$(date +%H:%M:%S)" "$1"
}

# The stage's own count goes into the table and the sum.
end() { # end NAME PASSED FAILED
  local seconds=$((SECONDS - stage_start)) verdict=ok
  [ "$3" = 0 ] || verdict=FAILED
  printf '%-6s %4d s   %d passed, %d failed\n' "$verdict" "$seconds" "$2" "$3"
  table+=("$(printf '%-28s %8d %8d %8d s' "$1" "$2" "$3" "$seconds")")
  passed=$((passed + $2))
  failed=$((failed + $3))
}

show_log() { # show_log FILE
  printf '%s\n' "---- the end of $1:"
  tail -n 60 "$1"
  printf '%s\n' "----"
}

# What the failed tests of a ctest log printed, the last 60 lines of each; the log's end without any.
show_failed_tests() { # show_failed_tests LOG
  awk '
    function show(   i) {
      if (in_test) for (i = n > 60 ? n - 60 : 0; i < n; i++) print line[i]
      in_test = n = 0
    }
    /^ *(Start +[0-9]+:|[0-9]+\/[0-9]+ Test +#|[0-9]+% tests passed)/ { show() }
    /^ *[0-9]+\/[0-9]+ Test +#.*\*\*\*/ && !/\*\*\*(Skipped|Not Run)/ { in_test = 1; shown = 1 }
    in_test { line[n++] = $0 }
    END { show(); exit !shown }
  ' "$1" || show_log "$1"
}

# A command that passes or fails as one test.
check() { # check NAME COMMAND...
  local name=$1 log
  log=$logs/${name//[^A-Za-z0-9-]/_}.log
  shift
  begin "$name"
  if "$@" > "$log" 2>&1 < /dev/null; then
    end "$name" 1 0
  else
    end "$name" 0 1
    failures+=("$name")
    show_log "$log"
    return 1
  fi
}

attribute() { # attribute NAME FILE: of the <testsuite> element of a JUnit file
  sed -n '/<testsuite/,/>/p' "$2" | tr '\n\t' '  ' | sed -n "s/.*[[:space:]]$1=\"\([0-9]*\)\".*/\1/p"
}

run_ctest() { # run_ctest PRESET
  local preset=$1 junit log name="tests $1" total broken skipped status only=()
  junit=$PWD/$logs/ctest-$preset.xml
  log=$logs/ctest-$preset.log
  rm -f "$junit"
  [ $long = 1 ] || only=(-LE long)
  begin "$name"
  ctest --test-dir "build/$preset" --output-on-failure --no-tests=error -j "$jobs" "${only[@]}" --output-junit "$junit" \
    > "$log" 2>&1 < /dev/null
  status=$?
  if [ ! -s "$junit" ]; then
    end "$name" 0 1
    failures+=("$name")
    show_log "$log"
    return
  fi
  total=$(attribute tests "$junit")
  broken=$(attribute failures "$junit")
  skipped=$(($(attribute skipped "$junit") + $(attribute disabled "$junit")))
  # ctest may fail for another reason than a test, such as a program that could not be started.
  [ $status = 0 ] || [ "$broken" -gt 0 ] || broken=1
  end "$name" $((total - broken - skipped)) "$broken"
  if [ $skipped -gt 0 ]; then
    echo "          $skipped skipped:"
    sed -n 's/.*Test *#[0-9]*: \(.*[^ .]\) *\.*\*\{3\}\(Skipped\|Not Run\).*/            \1/p' "$log" | sort -u
  fi
  if [ "$broken" -gt 0 ]; then
    failures+=("$name: $(sed -n 's/.*<testcase name="\([^"]*\)".*status="fail".*/\1/p' "$junit" | tr '\n' ' ')")
    show_failed_tests "$log"
  fi
}

configure() { # configure PRESET
  local options=()
  if [ -n "${llama_dir:-}" ] && [ "$1" != fuzz ]; then
    options+=("-DKVASIR_LLAMA_DIR=$llama_dir")
  fi
  if command -v ccache > /dev/null; then
    options+=(-DCMAKE_C_COMPILER_LAUNCHER=ccache)
  fi
  cmake --preset "$1" "${options[@]}"
}

build() { # build PRESET
  configure "$1" && cmake --build --preset "$1" -j "$jobs"
}

# Each fuzzer from its kept corpus, two at a time; what it finds new goes to build/, what breaks it fails the test.
run_fuzzer() { # run_fuzzer PROGRAM
  local program=$1 name seeds found
  name=$(basename "$program")
  found=build/fuzz/corpus/$name
  seeds=tests/fuzz/corpus/${name#fuzz_}
  mkdir -p "$found" build/fuzz/findings
  [ -d "$seeds" ] || seeds=""
  "$program" -max_total_time="$fuzz_seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="build/fuzz/findings/$name-" "$found" ${seeds:+"$seeds"} > "$logs/$name.log" 2>&1 < /dev/null
  echo $? > "$logs/$name.rc"
}

run_fuzzers() {
  local programs program name rc
  mapfile -t programs < <(find build/fuzz -type f -name 'fuzz_*' -perm -u+x ! -path '*/CMakeFiles/*' | sort)
  if [ ${#programs[@]} = 0 ]; then
    check "fuzzers" sh -c 'echo "the fuzz build made no program named fuzz_*"; exit 1'
    return
  fi
  begin "fuzzers, $fuzz_seconds s each"
  local good=0 bad=0
  for program in "${programs[@]}"; do
    while [ "$(jobs -rp | wc -l)" -ge 2 ]; do
      wait -n
    done
    run_fuzzer "$program" &
  done
  wait
  for program in "${programs[@]}"; do
    name=$(basename "$program")
    rc=$(cat "$logs/$name.rc")
    if [ "$rc" = 0 ]; then
      good=$((good + 1))
    else
      bad=$((bad + 1))
      failures+=("$name")
    fi
  done
  end "fuzzers, $fuzz_seconds s each" $good $bad
  for program in "${programs[@]}"; do
    name=$(basename "$program")
    printf '          %-24s %s runs\n' "$name" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$logs/$name.log")"
    [ "$(cat "$logs/$name.rc")" = 0 ] || show_log "$logs/$name.log"
  done
}

# A folder of tests/engines with real engines; each of its tests counts.
run_engines() { # run_engines FOLDER PYTHON
  local name="engines $1" log=$logs/engines-$1.log more=() good bad status
  [ "$engines" = subset ] || more=(--full)
  begin "$name"
  KVASIR_VLLM_PYTHON=$2 KVASIRD=$PWD/build/release/server/kvasird KVASIRCTL=$PWD/build/release/client/cli/kvasirctl \
    KVASIR_LIBRARY=$PWD/build/release/libkvasir-connector.so PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPATH=$PWD/tests/engines/$1:$PWD/tests/integration/node:$PWD/tests/fault \
    "$2" tests/engines/run.py "tests/engines/$1" "${more[@]}" > "$log" 2>&1 < /dev/null
  status=$?
  read -r good bad < <(sed -n '$s/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$log")
  # Without the closing line it did not come to its end.
  [ -n "${bad:-}" ] && { [ "$status" = 0 ] || [ "$bad" -gt 0 ]; } || bad=$((${bad:-0} + 1))
  end "$name" "${good:-0}" "$bad"
  if [ "$bad" -gt 0 ]; then
    failures+=("$name: $(sed -n 's/^\(FAILED\|ERROR\) .* s  //p' "$log" | tr '\n' ' ')")
    show_log "$log"
  fi
}

# The soak counts its promises itself.
run_soak() {
  local name="soak, $soak_minutes minutes" log=$logs/soak.log good bad status
  begin "$name"
  KVASIRD=$PWD/build/release/server/kvasird PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPATH=$PWD/build/release/tests/integration/node/generated \
    /usr/bin/python3 tests/soak/soak.py "$soak_minutes" ${KVASIR_SOAK_SEED:+"$KVASIR_SOAK_SEED"} > "$log" 2>&1 < /dev/null
  status=$?
  if [ "$status" = 77 ]; then
    end "$name" 0 0
    printf '          %s\n' "$(tail -n 1 "$log")"
    return
  fi
  read -r good bad < <(sed -n '$s/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$log")
  [ -n "${bad:-}" ] && { [ "$status" = 0 ] || [ "$bad" -gt 0 ]; } || bad=$((${bad:-0} + 1))
  end "$name" "${good:-0}" "$bad"
  if [ "$bad" -gt 0 ]; then
    failures+=("$name: $(sed -n 's/^FAILED \([a-z]*\):.*/\1/p; s/^seed \([0-9]*\),.*/(seed \1)/p' "$log" | tr '\n' ' ')")
    grep '^BROKEN' "$log" | head -n 20
    show_log "$log"
  fi
}

summary() {
  local name
  printf '\n%-28s %8s %8s %10s\n' stage passed failed time
  printf '%s\n' "${table[@]}"
  if [ ${#failures[@]} -gt 0 ]; then
    printf '\nfailed:\n'
    for name in "${failures[@]}"; do
      printf '  %s\n' "$name"
    done
  fi
  printf '\n%d passed, %d failed\n' "$passed" "$failed"
  [ "$failed" = 0 ]
}

if [ $install = 1 ]; then
  sets=(build test)
  [[ " ${stages[*]} " != *" fuzz "* ]] || sets+=(fuzz)
  [ $llama = 0 ] || sets+=(quickstart)
  [ $engines = none ] || sets+=(engines)
  check "packages to build with" tools/install-deps.sh "${sets[@]}" || {
    summary
    exit 1
  }
fi

if [[ " ${stages[*]} " == *" house "* ]]; then
  check "layers" tools/check-layers.sh
  check "house rules" tools/check-house.sh
  check "format" tools/check-format.sh
  if command -v shellcheck > /dev/null; then
    check "scripts" tools/check-scripts.sh
  fi
fi

llama_dir=""
if [ $llama = 1 ] && [ -x tools/fetch-llama.sh ] && [ ${#presets[@]} -gt 0 ]; then
  check "llama.cpp" tools/fetch-llama.sh .cache/llama && llama_dir=$PWD/.cache/llama
fi

for preset in "${presets[@]}"; do
  check "build $preset" build "$preset" && run_ctest "$preset"
  if [ "$preset" = release ] && [[ " ${stages[*]} " == *" tidy "* ]]; then
    check "tidy" tools/check-tidy.sh --build build/release
  fi
done

if [[ " ${stages[*]} " == *" soak "* ]]; then
  if [[ " ${presets[*]} " == *" release "* ]] || check "build release" build release; then
    run_soak
  fi
fi
if [ $engines != none ]; then
  # The same machine's own: an environment of KVASIR_VLLM_PYTHON is taken as it is.
  if [ -n "${KVASIR_VLLM_PYTHON:-}" ] || check "vLLM" tools/fetch-vllm.sh .cache/vllm; then
    if [[ " ${presets[*]} " == *" release "* ]] || check "build release" build release; then
      run_engines vllm "${KVASIR_VLLM_PYTHON:-$PWD/.cache/vllm/bin/python}"
    fi
  fi
fi
if [[ " ${stages[*]} " == *" packages "* ]]; then
  check "Debian packages" tests/integration/packages.sh
fi
if [[ " ${stages[*]} " == *" fuzz "* ]]; then
  check "build fuzz" build fuzz && run_fuzzers
fi
summary
