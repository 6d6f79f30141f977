#!/usr/bin/env bash
# Builds the Debian packages and tries them: what is in them, what they depend on, whether they install, whether the programs
# run from where they were installed and a stranger's program compiles and links against the headers.
#
# Usage: tests/integration/packages.sh [BUILD_DIR]
# Nothing outside BUILD_DIR (default build/package) is touched: the packages are installed by dpkg into a root of their own
# when we are root or have fakeroot, and unpacked there otherwise.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${1:-build/package}
root=$PWD/$build/root
failed=0

fail() {
  echo "FAIL: $*"
  failed=1
}

launcher=()
if command -v ccache > /dev/null; then
  launcher=(-DCMAKE_C_COMPILER_LAUNCHER=ccache)
fi
cmake --preset package -B "$build" "${launcher[@]}" > /dev/null
cmake --build "$build" -j "$(nproc)"
rm -rf "$build/packages"
(cd "$build" && cpack -G DEB > cpack.log 2>&1) || {
  cat "$build/cpack.log"
  exit 1
}

# The one file of a package by its name.
deb_of() { # deb_of PACKAGE
  local found=("$build/packages/$1"_*.deb)
  [ -f "${found[0]}" ] && printf '%s\n' "${found[0]}"
}

expect_file() { # expect_file PACKAGE PATTERN...
  local package=$1 deb pattern
  shift
  deb=$(deb_of "$package") || {
    fail "$package was not built"
    return 0
  }
  dpkg-deb --contents "$deb" | awk '{ print $6 }' > "$build/contents"
  for pattern in "$@"; do
    grep -qE "^\./$pattern\$" "$build/contents" || fail "$package holds nothing like /$pattern"
  done
}

expect_depends() { # expect_depends PACKAGE PATTERN
  local deb depends
  deb=$(deb_of "$1") || return 0
  depends=$(dpkg-deb --field "$deb" Depends)
  grep -qE "$2" <<< "$depends" || fail "$1 depends on \"$depends\", which does not name $2"
}

lib='usr/lib(/[a-z0-9_-]+)?'
expect_file libkvasir0 "$lib/libkvasir\.so\.0" "$lib/libkvasir\.so\.0\.[0-9.]+" usr/share/doc/libkvasir0/copyright
expect_file libkvasir-connector0 "$lib/libkvasir-connector\.so\.0" usr/share/doc/libkvasir-connector0/copyright
expect_file libkvasir-dev usr/include/kvasir/status.h usr/include/kvasir/client.h usr/include/kvasir/connector.h \
  "$lib/libkvasir\.so" "$lib/libkvasir-connector\.so" "$lib/pkgconfig/kvasir.pc" "$lib/pkgconfig/kvasir-connector.pc" \
  'usr/share/man/man3/libkvasir-connector\.3'
expect_file kvasir-server usr/sbin/kvasird etc/kvasir/kvasird.yaml '(usr/)?lib/systemd/system/kvasird.service' \
  'usr/share/man/man8/kvasird\.8'
expect_file kvasir-tools usr/bin/kvasirctl usr/bin/kvasir-bench usr/bin/kvasir-sim 'usr/share/man/man1/kvasirctl\.1' \
  'usr/share/man/man1/kvasir-bench\.1' 'usr/share/man/man1/kvasir-sim\.1' usr/share/bash-completion/completions/kvasirctl
expect_depends kvasir-server 'libgrpc[0-9]+'
expect_depends libkvasir0 'libc6'
expect_depends libkvasir-dev 'libkvasir0 \(= .*libkvasir-connector0 \(= '
if deb=$(deb_of kvasir-server); then
  dpkg-deb --info "$deb" conffiles 2> /dev/null | grep -qx /etc/kvasir/kvasird.yaml ||
    fail "kvasir-server does not keep an operator's /etc/kvasir/kvasird.yaml"
fi
[ $failed = 0 ] || exit 1

# Installed by dpkg into an empty root, where the system's libraries count as there.
rm -rf "$root"
mkdir -p "$root/var/lib/dpkg/info" "$root/var/lib/dpkg/updates"
: > "$root/var/lib/dpkg/status"
as_root=()
if [ "$(id -u)" != 0 ]; then
  as_root=(fakeroot --)
fi
# The libraries' own scripts run ldconfig, which would renew this machine's cache: here it has nothing to do.
mkdir -p "$build/bin"
printf '#!/bin/sh\nexit 0\n' > "$build/bin/ldconfig"
chmod +x "$build/bin/ldconfig"
installed=unpacked
if [ "$(id -u)" = 0 ] || command -v fakeroot > /dev/null; then
  if PATH=$PWD/$build/bin:$PATH:/usr/sbin:/sbin "${as_root[@]}" dpkg --root="$root" --force-depends --force-not-root \
    --force-script-chrootless --log="$root/dpkg.log" --install "$build/packages/"*.deb > "$build/dpkg.log" 2>&1; then
    installed="installed by dpkg"
  else
    cat "$build/dpkg.log"
    fail "dpkg does not install the packages"
    exit 1
  fi
else
  for deb in "$build/packages/"*.deb; do
    dpkg-deb --extract "$deb" "$root"
  done
fi

library=$(find "$root/usr/lib" -name 'libkvasir.so.0' | head -n 1)
export LD_LIBRARY_PATH=${library%/*}
run_installed() { # run_installed WORD PROGRAM ARGUMENT...: it ends well and its output holds WORD
  local word=$1 output
  shift
  output=$("$root/$1" "${@:2}" 2>&1 < /dev/null) || fail "$* ends with $?: $output"
  grep -qF -- "$word" <<< "$output" || fail "$* does not say \"$word\" but: $output"
}
version=$(sed -n 's/^project(kvasir VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
run_installed "$version" usr/sbin/kvasird --version
run_installed "listen" usr/sbin/kvasird --help
run_installed "stats" usr/bin/kvasirctl --help
run_installed "net" usr/bin/kvasir-bench --help
"$root/usr/sbin/kvasird" --check-config --config "$root/etc/kvasir/kvasird.yaml" > "$build/check.log" 2>&1 ||
  fail "the packaged configuration is refused: $(cat "$build/check.log")"
grep -q 'KVASIR_DRAM_SIZE' "$root/usr/share/man/man8/kvasird.8" || fail "kvasird(8) lacks the options of the configuration table"
if command -v systemd-analyze > /dev/null; then
  # "Command ... is not executable" is about the root that we did not install into.
  unit=$(find "$root" -name kvasird.service)
  problems=$(systemd-analyze verify --man=no "$unit" 2>&1 | grep 'kvasird.service' | grep -v 'is not executable' || true)
  [ -z "$problems" ] || fail "systemd finds fault with the unit: $problems"
fi

# A stranger's program, by pkg-config as an installed tree gives it.
cat > "$build/stranger.c" << 'STRANGER'
#include <kvasir/client.h>
#include <kvasir/connector.h>
#include <kvasir/status.h>
#include <stdio.h>
int main(void)
{
  return printf("%s\n", kvs_status_text(KVS_MISS)) > 0 ? 0 : 1;
}
STRANGER
for module in kvasir kvasir-connector; do
  # shellcheck disable=SC2046 # words
  cc -std=c11 -Wall -Werror -o "$build/stranger" "$build/stranger.c" \
    $(PKG_CONFIG_PATH=$LD_LIBRARY_PATH/pkgconfig pkg-config --cflags --libs "$module") ||
    fail "a program does not build with pkg-config's $module"
  "$build/stranger" > /dev/null || fail "a program linked with $module does not run"
done

if [ $failed = 0 ]; then
  echo "packages: $(find "$build/packages" -maxdepth 1 -name '*.deb' | wc -l) built, $installed, and their programs run"
fi
exit $failed
