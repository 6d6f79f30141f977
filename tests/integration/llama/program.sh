#!/usr/bin/env bash
# program.sh KVASIR_LLAMA MKMODEL MODELS: what the two programs say to wrong input, and that models come out the same.
set -euo pipefail
llama=$1 mkmodel=$2 models=$3

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# refuses STATUS WORDS PROGRAM ARGUMENTS...: ends with STATUS and says WORDS.
refuses() {
  local status=$1 words=$2 got=0
  shift 2
  "$@" >"$work/out" 2>&1 || got=$?
  if [ "$got" != "$status" ] || ! grep -q -- "$words" "$work/out"; then
    printf 'FAILED: %s\nended with %s, not %s, or did not say "%s":\n' "$*" "$got" "$status" "$words" >&2
    cat "$work/out" >&2
    exit 1
  fi
}

seq 1 20 >"$work/ids"
echo "1 2 three" >"$work/words"
echo "1 4096" >"$work/high"
echo "-1" >"$work/negative"
: >"$work/empty"
run=("$llama" --model "$models/dense.gguf" --embedded-mib 16)

refuses 0 usage "$llama" --help
refuses 2 usage "$llama"
refuses 2 'kv-type cannot be "q3"' "${run[@]}" --tokens "$work/ids" --kv-type q3
refuses 2 'threads cannot be "0"' "${run[@]}" --tokens "$work/ids" --threads 0
refuses 2 usage "${run[@]}" --tokens "$work/ids" --prompt "$work/ids"
node=(--tokens "$work/ids" --endpoint kvasir://127.0.0.1:1 --wait-ms 0)
refuses 2 'none.pem": No such file' "${run[@]}" "${node[@]}" --tls-ca "$work/none.pem"
refuses 2 "need --tls-ca" "${run[@]}" "${node[@]}" --tls-name node.example
refuses 2 "need each other" "${run[@]}" "${node[@]}" --tls-ca "$work/ids" --tls-cert "$work/ids"
refuses 2 "need each other" env KVASIR_TLS_CA="$work/ids" KVASIR_TLS_KEY="$work/ids" "${run[@]}" "${node[@]}"
refuses 0 "prompt tokens *20" "${run[@]}" --tokens "$work/ids" --tls-ca "$work/none.pem" # embedded: no TLS to speak
refuses 1 "not a token id" "${run[@]}" --tokens "$work/words"
refuses 1 "not a token id" "${run[@]}" --tokens "$work/high"
refuses 1 "not a token id" "${run[@]}" --tokens "$work/negative"
refuses 1 "no tokens" "${run[@]}" --tokens "$work/empty"
refuses 1 "No such file" "${run[@]}" --tokens "$work/none"
refuses 1 "no tokenizer" "${run[@]}" --prompt "$work/ids"
refuses 1 "does not fit" "${run[@]}" --tokens "$work/ids" --context 10
refuses 1 "nowhere:" "${run[@]}" --tokens "$work/ids" --endpoint nowhere:
refuses 1 "cannot load" "$llama" --model "$work/ids" --tokens "$work/ids"
refuses 1 "spare sequence" "$llama" --model "$models/hybrid.gguf" --tokens "$work/ids" --sequences 1
refuses 0 "prompt tokens *20" "${run[@]}" --tokens "$work/ids"

refuses 0 families "$mkmodel" --help
refuses 2 usage "$mkmodel"
refuses 2 usage "$mkmodel" --family none "$work/model"
refuses 1 "cannot be written" "$mkmodel" --family hybrid "$work/none/model"
"$mkmodel" --family hybrid "$work/one"
"$mkmodel" --family hybrid "$work/two"
"$mkmodel" --family hybrid --seed 2 "$work/three"
cmp "$work/one" "$work/two"
if cmp -s "$work/one" "$work/three"; then exit 1; fi
