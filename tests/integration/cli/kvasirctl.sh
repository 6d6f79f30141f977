#!/bin/sh
# kvasirctl against a real node: every command, its exit codes, files that come back byte for byte.
# Usage: kvasirctl.sh KVASIRD KVASIRCTL
set -eu
kvasird=$1
kvasirctl=$2
scratch=$(mktemp -d)
node=
clean_up() {
  [ -z "$node" ] || kill "$node" 2>/dev/null || true
  rm -rf "$scratch"
}
trap clean_up EXIT
export KVASIR_ENDPOINT="unix:$scratch/node.sock"

fail() {
  echo "FAILED: $*" >&2
  cat "$scratch/node.log" >&2
  exit 1
}
# expect CODE COMMAND...: runs kvasirctl, its output in $scratch/out and $scratch/err
expect() {
  code=$1
  shift
  got=0
  "$kvasirctl" "$@" > "$scratch/out" 2> "$scratch/err" || got=$?
  [ "$got" = "$code" ] || fail "kvasirctl $*: exit $got, not $code: $(cat "$scratch/err")"
}
says() { grep -q -- "$1" "$scratch/out" || fail "no '$1' in: $(cat "$scratch/out")"; }
complains() { grep -q -- "$1" "$scratch/err" || fail "no '$1' in: $(cat "$scratch/err")"; }

# Without a node.
: > "$scratch/node.log"
expect 3 --timeout 200ms ping
complains 'no node at'
expect 0 --help
says 'Exit status'
expect 0 --version
expect 2
expect 2 fly
complains "no command 'fly'"
expect 2 evict
expect 2 put one
expect 2 ping --count many
complains "'many' is no N"
expect 2 --endpoint tcp:1 ping
complains 'is no endpoint'
tcp=kvasir://127.0.0.1:1
expect 2 -e "$tcp" --tls-ca "$scratch/none.pem" ping
complains "cannot read the TLS file '$scratch/none.pem': No such file"
: > "$scratch/some.pem"
expect 2 -e "$tcp" --tls-ca "$scratch/some.pem" --tls-cert "$scratch/some.pem" ping
complains 'needs --tls-key'
expect 2 -e "$tcp" --tls-key "$scratch/some.pem" ping
complains 'needs --tls-cert'
expect 2 -e "$tcp" --tls-cert "$scratch/some.pem" ping --tls-key "$scratch/some.pem"
complains 'needs --tls-ca'
expect 2 -e "$tcp" --tls-name node.example ping
complains 'needs --tls-ca'
expect 2 --tls-ca
complains 'needs a value'
for command in ping tiers stats ls put get evict hint why-miss curve config bench replay codec completion; do
  expect 0 "$command" --help
  says "Usage: kvasirctl $command"
done
expect 0 completion bash
bash -n "$scratch/out" || fail 'the bash completion is no bash'
bash -c ". '$scratch/out'; COMP_WORDS=(kvasirctl ls ch); COMP_CWORD=2; _kvasirctl; [ \"\${COMPREPLY[*]}\" = chunks ]" ||
  fail 'the bash completion does not complete "ls ch"'
bash -c ". '$scratch/out'; COMP_WORDS=(kvasirctl --tls-ca '$scratch/som'); COMP_CWORD=2; _kvasirctl; [ \"\${COMPREPLY[*]}\" = '$scratch/some.pem' ]" ||
  fail 'the bash completion does not complete the file of --tls-ca'
bash -c ". '$scratch/out'; COMP_WORDS=(kvasirctl hint agent --return-p5); COMP_CWORD=3; _kvasirctl; [ \"\${COMPREPLY[*]}\" = --return-p50 ]" ||
  fail 'the bash completion does not complete "hint agent --return-p5"'
expect 0 completion zsh
says '--tls-key'
expect 2 completion fish

# With one.
KVASIR_TLS_CA=$scratch/none.pem KVASIR_TLS_NAME=node.example "$kvasird" --listen= --unix-socket="$scratch/node.sock" --admin-listen= --dram-size=128MiB > "$scratch/node.log" 2>&1 &
node=$!
tries=0
until "$kvasirctl" --timeout 500ms ping --count 1 > /dev/null 2>&1; do
  tries=$((tries + 1))
  [ "$tries" -lt 60 ] || fail 'the node does not answer'
  kill -0 "$node" 2>/dev/null || fail 'the node has ended'
  sleep 0.2
done
expect 0 ping
says 'round trips'
! grep -q 'is no setting' "$scratch/node.log" || fail "the node warns of kvasirctl's variables"
expect 0 --tls-ca "$scratch/none.pem" ping # not looked at for a unix socket
expect 0 --json ping
says '"software":"kvasir'

head -c 20000001 /dev/urandom > "$scratch/file"
expect 0 put a/file "$scratch/file"
expect 0 get a/file "$scratch/again"
cmp "$scratch/file" "$scratch/again" || fail 'a file came back different'
echo first > "$scratch/small"
expect 0 put name "$scratch/small"
echo second > "$scratch/small"
expect 0 put name "$scratch/small"
expect 0 get name -
says second
: > "$scratch/empty"
expect 0 put nothing "$scratch/empty"
expect 0 get nothing "$scratch/again"
[ ! -s "$scratch/again" ] || fail 'an empty file came back with something in it'
"$kvasirctl" put piped - < "$scratch/file" > /dev/null || fail 'put from a pipe'
"$kvasirctl" get piped - | cmp - "$scratch/file" || fail 'get into a pipe'
expect 1 get missing "$scratch/none"
complains 'never stored'
[ ! -e "$scratch/none" ] || fail 'a miss left a file'
expect 1 get --space elsewhere name -
# Whoever may put may name a space; the operator's terminal is not theirs.
expect 0 put --space "$(printf 'evil\033[2J\302\2332Jname')" name "$0"
expect 0 ls
! grep -q "$(printf '\033')" "$scratch/out" || fail 'a control character of a name went to the terminal'
says 'evil?\[2J??2Jname'
expect 0 --json ls
expect 4 put name "$scratch/does-not-exist"

expect 0 ls
says files
expect 0 --json ls
space=$(grep -o '"digest":"[0-9a-f]*","chunks":[^0].*"model":"files"' "$scratch/out" | cut -d '"' -f 4)
expect 0 ls chunks "$(echo "$space" | cut -c 1-8)"
says dram
expect 0 --json ls chunks "$space" --limit 2
[ "$(grep -o '"key"' "$scratch/out" | wc -l)" = 2 ] || fail 'ls --limit 2 did not list two'
expect 1 ls chunks ffffffffffff
expect 2 ls chunks
expect 0 stats
says kvasir_gets_total
expect 0 tiers
says '^dram '
says 'chunks asked for'
! grep -q '^ssd\|^redis' "$scratch/out" || fail 'tiers that the node does not have'
expect 0 --json tiers
says kvasir_tier_used_bytes
says '"name":"kvasir_tier_hits_total","kind":"counter","labels":"tier=\\"dram\\"'
says '"damaged":\[\]'
expect 0 --json stats
says '"stats":\['
for command in stats programs pins price tenants curve; do
  [ "$("$kvasirctl" --json "$command" --watch | head -n 2 | grep -c '^{.*}$')" = 2 ] || fail "$command --watch has no document a line"
  [ "$("$kvasirctl" "$command" --watch | head -n 3 | wc -l)" = 3 ] || fail "$command --watch ends"
done
# Counters have rates from the second table on.
timeout 120 "$kvasirctl" stats --watch 0.1 | awk '/ RATE /{rates = 1} rates && /^kvasir_gets_total/{print; exit}' > "$scratch/out"
says '/s '
expect 2 stats 1
complains 'it takes --watch and then'
expect 2 stats --watch 0
complains "not '0'"
expect 0 config
says dram.size
expect 0 bench --count 4 --size 64KiB --rounds 2
says THROUGHPUT
expect 0 --json bench --count 4 --size 64KiB --rounds 2
says '"name":"lookup"'
expect 0 evict --all --space "$space"
says evicted
key=$(printf mname | sha256sum | cut -c 1-64) # of its manifest
expect 1 why-miss --space "$space" "$key"
says 'evicted .* since an operator asked for it'
expect 2 why-miss "$key"
complains 'of which space'
expect 1 get name -
complains 'was evicted\|the node does not remember' # what it remembers of chunks that went is approximate
expect 0 evict --all # of the other spaces too
expect 0 --json evict --bytes 1MiB
says '"chunks":0'

# And with one that leaves.
kill "$node"
wait "$node" || fail 'the node did not end well'
node=
expect 3 --timeout 300ms stats
echo 'kvasirctl: all well'
