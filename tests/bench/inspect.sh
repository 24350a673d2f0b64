#!/bin/sh
# glmq-inspect --json and glmq-convert --plan on a checkpoint of 60,000 tensors in 282 shards.
#
#   tests/bench/inspect.sh BUILD [SCRATCH]
set -eu
build=$(cd "$1" && pwd)
scratch=$(mktemp -d "${2:-${TMPDIR:-/tmp}}/glmq-bench-XXXXXX")
trap 'rm -rf "$scratch"' EXIT INT TERM
"$build/tests/make_sample" --arch glm_moe_dsa --hidden 64 --layers 78 --dense-layers 3 --experts 256 --moe 64 \
    --shards 282 --fill sparse "$scratch/model"
for i in 1 2 3; do
    echo "inspect --json: $("$build/tests/peak" "$build/glmq-inspect" --json "$scratch/model") (seconds, KiB)"
done
for i in 1 2 3; do
    echo "convert --plan --json: $("$build/tests/peak" "$build/glmq-convert" "$scratch/model" "$scratch/out" --to gguf:q8_0 --plan --json) (seconds, KiB)"
done
