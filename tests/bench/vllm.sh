#!/usr/bin/env bash
# Measures a real vLLM with Kvasir behind it: times to the first token, and what the connector costs.
#
# Usage: tests/bench/vllm.sh [--json] [--rounds N] [--ways WAY,...] [--lengths N,...] [--misses N] [--kv-heads N]
#        tests/bench/vllm.sh --plot RUN.json > run.svg        draws what --json printed
#        tests/bench/vllm.sh --table RUN.json                 tables of it
#
# The ways are prefix (vLLM's own cache), kvasir-tcp, kvasir-unix and lmcache; docs/benchmarks.md says what is measured. Needs the
# release build, and fetches vLLM and LMCache (tools/fetch-vllm.sh) unless KVASIR_VLLM_PYTHON and KVASIR_LMCACHE_PYTHON name them.
# With all ways 20 GB of memory and a quarter of an hour for five rounds.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)

case " $* " in
  *" --plot "* | *" --table "*) exec env PYTHONPATH="$top/tests/engines/vllm:$top/tests/integration/node" KVASIRD=none \
    "${KVASIR_VLLM_PYTHON:-$top/.cache/vllm/bin/python}" "$top/tests/bench/vllm/bench.py" "$@" ;;
esac
if [ -z "${KVASIR_VLLM_PYTHON:-}" ] || [ -z "${KVASIR_LMCACHE_PYTHON:-}" ]; then
  "$top/tools/fetch-vllm.sh" --lmcache "$top/.cache/vllm"
fi
export KVASIR_VLLM_PYTHON=${KVASIR_VLLM_PYTHON:-$top/.cache/vllm/bin/python}
export KVASIR_LMCACHE_PYTHON=${KVASIR_LMCACHE_PYTHON:-$top/.cache/vllm-lmcache/bin/python}
export KVASIRD=${KVASIRD:-$top/build/release/server/kvasird}
export KVASIR_LIBRARY=${KVASIR_LIBRARY:-$top/build/release/libkvasir-connector.so}
for file in "$KVASIRD" "$KVASIR_LIBRARY"; do
  [ -e "$file" ] || {
    echo "vllm.sh: $file is missing: cmake --preset release && cmake --build --preset release" >&2
    exit 1
  }
done
export PYTHONPATH=$top/tests/engines/vllm:$top/tests/integration/node PYTHONDONTWRITEBYTECODE=1
exec "$KVASIR_VLLM_PYTHON" "$top/tests/bench/vllm/bench.py" "$@"
