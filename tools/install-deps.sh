#!/bin/sh
# Installs what a bare Debian 12 needs, and only what is missing: with everything there it needs neither root nor network.
# Usage: tools/install-deps.sh [build] [test] [fuzz] [run] [bench] [quickstart]...     default: build test
#   build       compiler, CMake and the libraries with their headers
#   test        what the test suite runs besides: other implementations to compare with, checkers
#   fuzz        clang with libFuzzer and the sanitizers' libraries
#   run         the libraries alone, for a machine that runs what another one built
#   quickstart  what the quick start fetches llama.cpp with
#   quickstart-tiers  what it starts besides when it shows the tiers
#   bench       what kvasir-bench tier measures beside: fio, redis-benchmark; and what kvasir-bench codec is built with: LZ4 (rows of what is missing are left out)
#   engines     what tools/fetch-vllm.sh installs vLLM with, what its wheels link to, and what it compiles kernels with when it runs
#   --list      print the packages of the sets named after it and do nothing
set -eu

build="cmake ninja-build gcc g++ libc6-dev pkg-config git file dpkg-dev
  libgrpc-dev libprotobuf-c-dev protobuf-c-compiler libisal-dev libyaml-dev libssl-dev libcmocka-dev libmicrohttpd-dev
  libcjson-dev libxxhash-dev libhiredis-dev liburing-dev libzstd-dev"
test="redis-server clang-format clang-tidy shellcheck python3 python3-grpcio python3-protobuf protobuf-compiler openssl
  curl mandoc fakeroot"
fuzz="clang llvm libclang-rt-14-dev"
run="libgrpc29 libprotobuf-c1 libisal2 libyaml-0-2 libssl3 libmicrohttpd12 libcjson1 libxxhash0 libhiredis0.14 liburing2 libzstd1"
bench="fio redis-server redis-tools liblz4-dev"
quickstart="npm git ca-certificates"
quickstart_tiers="redis-server"
engines="python3 python3-venv python3-dev g++ ca-certificates libnuma1"

list=0
if [ "${1:-}" = --list ]; then
  list=1
  shift
fi
if [ $# = 0 ]; then
  set -- build test
fi
wanted=""
for set_name in "$@"; do
  case $set_name in
    build) wanted="$wanted $build" ;;
    test) wanted="$wanted $test" ;;
    fuzz) wanted="$wanted $fuzz" ;;
    run) wanted="$wanted $run" ;;
    bench) wanted="$wanted $bench" ;;
    quickstart) wanted="$wanted $quickstart" ;;
    quickstart-tiers) wanted="$wanted $quickstart_tiers" ;;
    engines) wanted="$wanted $engines" ;;
    *)
      echo "install-deps: there is no set of packages \"$set_name\": say build, test, fuzz, run, bench, quickstart, quickstart-tiers or engines" >&2
      exit 2
      ;;
  esac
done
if [ "$list" = 1 ]; then
  # shellcheck disable=SC2086 # one word a package
  printf '%s\n' $wanted | sort -u
  exit 0
fi

if ! command -v dpkg-query > /dev/null || ! command -v apt-get > /dev/null; then
  echo "install-deps: this is no Debian; install what corresponds to:" >&2
  # shellcheck disable=SC2086
  printf '%s\n' $wanted | sort -u >&2
  exit 1
fi

# npm is wanted as a program: it often comes from elsewhere than Debian's package.
is_there() {
  case $1 in
    npm) command -v npm > /dev/null && return 0 ;;
  esac
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2> /dev/null)" = installed ]
}

missing=""
for package in $wanted; do
  if ! is_there "$package"; then
    missing="$missing $package"
  fi
done
if [ -z "$missing" ]; then
  echo "install-deps: everything is there ($*)"
  exit 0
fi

echo "install-deps: to install:$missing"
as_root=""
if [ "$(id -u)" != 0 ]; then
  if ! command -v sudo > /dev/null; then
    echo "install-deps: neither root nor sudo; please have somebody run: apt-get install$missing" >&2
    exit 1
  fi
  # Without a terminal nobody can type a password.
  as_root="sudo"
  if [ ! -t 0 ]; then
    as_root="sudo -n"
  fi
fi
install_missing() {
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -q --no-install-recommends $missing
}
# The lists of a fresh image are empty or old; try what is there first, it is the faster way.
if ! install_missing > /dev/null 2>&1; then
  $as_root apt-get update -q || {
    echo "install-deps: apt-get could not read its package lists; is there a network?" >&2
    exit 1
  }
  install_missing || {
    echo "install-deps: apt-get could not install:$missing" >&2
    exit 1
  }
fi
