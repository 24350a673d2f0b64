#!/bin/sh
# Whole conversions beside `cp` of the same bytes, in one run, and the memory they take.
#
#   tests/bench/convert.sh BUILD [SCRATCH]
#
# BUILD holds a Release build with tests, SCRATCH takes some 15 GB (default: a folder under TMPDIR).
# Figures are the best of three after one warm-up.  `cp` copies the very output of the conversion
# from the page cache and is not asked to be durable, while glmq always is (fdatasync), so the
# ratio with `cp; sync` stands beside it.
set -eu
build=$(cd "$1" && pwd)
scratch=$(mktemp -d "${2:-${TMPDIR:-/tmp}}/glmq-bench-XXXXXX")
trap 'rm -rf "$scratch"' EXIT INT TERM
peak=$build/tests/peak

best() { # best COMMAND...: least seconds and largest KiB of three runs after a warm-up
    for i in 0 1 2 3; do
        rm -rf "$scratch/out" "$scratch/out.gguf" "$scratch/out.gguf.glmq-manifest.json"
        "$peak" "$@" >"$scratch/one" || exit 1
        [ "$i" = 0 ] && : >"$scratch/all" || cat "$scratch/one" >>"$scratch/all"
    done
    sort -n "$scratch/all" | awk 'NR == 1 { s = $1 } $2 > m { m = $2 } END { print s, m }'
}

row() { # row LABEL SOURCE TARGET FORMAT
    ours=$(best "$build/glmq-convert" "$2" "$3" --to "$4" --memory 512M --progress=none -q)
    kept=$scratch/kept
    mv "$3" "$kept"
    bytes=$(du -sb "$kept" | cut -f1)
    plain=$(best cp -r "$kept" "$scratch/out")
    durable=$(best sh -c "cp -r '$kept' '$scratch/out' && sync -f '$scratch'")
    rm -rf "$kept" "$scratch/out" "$3.glmq-manifest.json"
    echo "$ours $plain $durable $bytes" | awk -v l="$1" '{
        printf "%-32s %5.2f GB %6.2f s %5.2f GB/s  rss %3d MB  cp %6.2f s: %.2fx  cp; sync %6.2f s: %.2fx\n",
            l, $7 / 1e9, $1, $7 / 1e9 / $1, $2 / 1024, $3, $1 / $3, $5, $1 / $5 }'
}

echo "making a 4 GB BF16 checkpoint"
"$build/tests/make_sample" --hidden 2048 --layers 9 --dense-layers 1 --experts 32 --moe 1024 --dense 4096 \
    --vocab 32000 --heads 16 --kv-heads 4 --head-dim 128 --shards 4 --fill repeat "$scratch/bf16"
row "bf16 -> bf16" "$scratch/bf16" "$scratch/out" bf16
row "bf16 -> gguf:bf16" "$scratch/bf16" "$scratch/out.gguf" gguf:bf16
row "bf16 -> gguf:q8_0" "$scratch/bf16" "$scratch/out.gguf" gguf:q8_0
make() { # make NAME FORMAT
    "$build/glmq-convert" "$scratch/bf16" "$scratch/$1" --to "$2" --progress=none -q
}
make ct compressed-tensors:int4,group=32
make asym compressed-tensors:int4,group=32,asym
make gptq gptq:group=32
rm -rf "$scratch/bf16"
row "int4 compressed-tensors -> gptq" "$scratch/ct" "$scratch/out" gptq
row "int4 compressed-tensors -> q4_0" "$scratch/ct" "$scratch/out.gguf" gguf:auto
row "int4 asymmetric -> gptq" "$scratch/asym" "$scratch/out" gptq
row "gptq -> int4 compressed-tensors" "$scratch/gptq" "$scratch/out" compressed-tensors
