#!/bin/sh
# Builds the consumer with nothing but a compiler and pkg-config, and runs it.
#   pkg-config.sh PREFIX LIBDIR COMPILER CHECKPOINT
set -eu
here=$(cd "$(dirname "$0")" && pwd)
prefix=$1 libdir=$1/$2 compiler=$3 checkpoint=$4
export PKG_CONFIG_PATH="$libdir/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}"
out=$prefix/consumer-pkg-config
# shellcheck disable=SC2046
"$compiler" -std=c17 -Wall -Wextra -Werror -o "$out" "$here/consumer.c" $(pkg-config --cflags --libs glmq)
LD_LIBRARY_PATH="$libdir${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" "$out" "$checkpoint"
