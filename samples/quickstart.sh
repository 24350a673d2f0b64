#!/bin/sh
# From a fresh machine to a converted and verified checkpoint: installs what is missing,
# builds, takes the sample checkpoint to GGUF and back, then through 4-bit GPTQ, and shows
# that nothing was lost on the way.
#
#   ./samples/quickstart.sh [FOLDER]      FOLDER: for the results, default build/quickstart
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/samples/packages.sh"
out=${1:-$root/build/quickstart}
sample=$root/samples/glm4-moe-tiny
bin=$root/build/release

step() { printf '\n== %s\n' "$*"; }
run() { # shows a command without the paths of this machine, then runs it
    printf '$ %s\n' "$*" | sed -e "s|$bin/||g" -e "s|$root/||g"
    "$@"
}

brief() { # the same, with the last four lines of what it prints
    printf '$ %s\n' "$*" | sed -e "s|$bin/||g" -e "s|$root/||g"
    status=0
    "$@" >"$out/log" || status=$?
    tail -n 4 "$out/log"
    return "$status"
}

step "Packages"
# shellcheck disable=SC2086
need_packages $BUILD_PACKAGES
echo "all there"

step "Build"
cmake -S "$root" -B "$bin" -G Ninja -DCMAKE_BUILD_TYPE=Release -DGLMQ_TESTS=OFF >/dev/null
cmake --build "$bin" -j "$(processors)"

mkdir -p "$out"
rm -rf "$out/tiny.gguf" "$out/tiny.gguf.glmq-manifest.json" "$out/back" "$out/gptq" "$out/gptq.gguf" \
    "$out/gptq.gguf.glmq-manifest.json"

step "What the sample is"
run "$bin/glmq-inspect" "$sample"

step "BF16 safetensors to GGUF, and back"
run "$bin/glmq-convert" "$sample" "$out/tiny.gguf" --to gguf
run "$bin/glmq-convert" "$out/tiny.gguf" "$out/back" --to bf16
brief "$bin/glmq-verify" "$sample" "$out/back"

step "To 4-bit GPTQ (this loses precision, and says how much)"
run "$bin/glmq-convert" "$sample" "$out/gptq" --to gptq:bits=4,group=32
run "$bin/glmq-verify" "$sample" "$out/gptq" || [ $? = 5 ] # 5: they differ

step "From GPTQ to GGUF: the same integers and scales in another packing"
run "$bin/glmq-convert" "$out/gptq" "$out/gptq.gguf" --to gguf
brief "$bin/glmq-verify" "$out/gptq" "$out/gptq.gguf"

step "One digest per set of weights, whatever the format"
for path in "$sample" "$out/tiny.gguf" "$out/back" "$out/gptq" "$out/gptq.gguf"; do
    printf '%-24s' "$(basename "$path")"
    "$bin/glmq-inspect" --digest "$path" | tail -n 1
done

printf '\nDone. The results are in %s, the programs in %s.\n' "$out" "$bin"
