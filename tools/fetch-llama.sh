#!/usr/bin/env bash
# fetch-llama.sh DEST: llama.cpp's library and headers of one pinned release, into DEST/lib and DEST/include.
#
# The library comes prebuilt in one npm package, the headers from the upstream repository that a second one carries;
# they must be of the same release, since llama.cpp passes its parameter structs by value. Both packages are checked
# against the SHA-512 written here, so what a registry or a proxy serves is either these bytes or an error.
# Nothing is done when DEST already holds this release. The packages are kept in $KVASIR_CACHE (default: .cache beside
# this tree) so that a second DEST needs no network. Needs npm and git; where they are missing and we are root on a
# Debian, apt-get installs them.
set -euo pipefail

version=3.22.1
library_package=@node-llama-cpp/linux-x64@$version
library_sha512=5uCCDNqWCNfaAm8aR/Uzxbo4HBpKgNF91kCHPepKhgMgV2OAmatoefbOlMihsqCiH2Od35E/eUHQCFbfRBJuOg==
source_package=node-llama-cpp@$version
source_sha512=bltIipuWmc123H7tMIgDGKSsSrhmhlQYeVUC48XTjVW7XGJJiJJyCdlTMzQ/LiWoPkGDpcL4FviDpgw7qfTiDw==

die() {
  printf 'fetch-llama: %s\n' "$*" >&2
  exit 1
}

[ $# -eq 1 ] || die "usage: tools/fetch-llama.sh DEST"
dest=$1
stamp=$dest/.kvasir-llama
identity="$library_sha512 $source_sha512"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$identity" ]; then
  exit 0
fi

if [ -e "$dest" ] && [ ! -f "$stamp" ] && [ -n "$(ls -A "$dest")" ]; then
  die "$dest is not empty and not ours: name another folder"
fi
[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] ||
  die "the packaged library is for Linux on x86-64; build llama.cpp yourself and point KVASIR_LLAMA_DIR at it"

need() { # need PROGRAM PACKAGE
  command -v "$1" >/dev/null && return
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    die "$1 is missing: install the package $2"
  fi
  echo "fetch-llama: installing $2" >&2
  apt-get update -q >/dev/null || die "apt-get could not read its package lists"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$2" >/dev/null ||
    die "apt-get could not install $2"
}

sha512_base64() {
  sha512sum "$1" | cut -d' ' -f1 | hex_to_bytes | base64 -w0
}

# Hex to bytes with the shell alone: xxd and openssl are not on a bare machine.
hex_to_bytes() {
  local hex
  read -r hex
  # shellcheck disable=SC2059 # the format is the data: \xNN escapes
  printf "$(printf '%s' "$hex" | sed 's/../\\x&/g')"
}

cache=${KVASIR_CACHE:-$(cd "$(dirname "$0")/.." && pwd)/.cache}
mkdir -p "$cache"

fetch() { # fetch PACKAGE SHA512 FILE
  local file=$cache/$3 work log
  if [ -f "$file" ] && [ "$(sha512_base64 "$file")" = "$2" ]; then
    return
  fi
  need npm npm
  work=$(mktemp -d "$cache/fetch.XXXXXX")
  log=$work/log
  if ! (cd "$work" && npm pack --loglevel=error "$1" >"$log" 2>&1); then
    cat "$log" >&2
    rm -rf "$work"
    die "npm could not fetch $1: is the registry of your npm configuration (npm config get registry) reachable?"
  fi
  mv "$work"/*.tgz "$work/package"
  if [ "$(sha512_base64 "$work/package")" != "$2" ]; then
    rm -rf "$work"
    die "$1 does not have the expected SHA-512: refused"
  fi
  mv "$work/package" "$file"
  rm -rf "$work"
}

need git git
fetch "$library_package" "$library_sha512" "llama-library-$version.tgz"
fetch "$source_package" "$source_sha512" "llama-source-$version.tgz"

work=$(mktemp -d "$cache/unpack.XXXXXX")
trap 'rm -rf "$work"' EXIT
tar -xzf "$cache/llama-library-$version.tgz" -C "$work" package/bins package/LICENSE
tar -xzf "$cache/llama-source-$version.tgz" -C "$work" package/llama/gitRelease.bundle
git -c advice.detachedHead=false clone -q --depth 1 --no-checkout "$work/package/llama/gitRelease.bundle" "$work/upstream" ||
  die "the upstream repository in $source_package cannot be read"
git -C "$work/upstream" checkout -q HEAD -- include ggml/include LICENSE

mkdir -p "$work/out/lib" "$work/out/include"
cp "$work"/package/bins/linux-x64/lib{llama.v*,ggml*}.so "$work/out/lib/"
cp "$work/upstream/include/llama.h" "$work"/upstream/ggml/include/{ggml*,gguf}.h "$work/out/include/"
cp "$work/upstream/LICENSE" "$work/out/LICENSE"
printf '%s\n' "$identity" >"$work/out/.kvasir-llama"

# Whole or not at all: a half-filled DEST would look like a broken llama.cpp.
mkdir -p "$(dirname "$dest")"
rm -rf "$dest"
mv "$work/out" "$dest"
echo "fetch-llama: llama.cpp of node-llama-cpp $version is in $dest" >&2
