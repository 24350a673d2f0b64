#!/bin/sh
# Sets the machine up, builds and runs everything: the tests of the Release build (gcc, and
# the library as a shared one by clang), the parsers under AddressSanitizer and UBSan, the
# runs under ThreadSanitizer.  The last lines are the summary of the main run.
#
#   ./tests/run.sh            GLMQ_BUILD=FOLDER: elsewhere than in build/
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/samples/packages.sh"
build=${GLMQ_BUILD:-$root/build}
n=$(processors)

step() { printf '\n== %s\n' "$*"; }
make_build() { # make_build NAME OPTION...
    name=$1
    shift
    cmake -S "$root" -B "$build/$name" "$@" >"$build/$name.log" 2>&1 || { cat "$build/$name.log"; return 1; }
    cmake --build "$build/$name" -j "$n"
}

step "Packages"
# shellcheck disable=SC2086
need_packages $BUILD_PACKAGES $TEST_PACKAGES
mkdir -p "$build"

step "Release build, all tests"
make_build test -G Ninja -DCMAKE_BUILD_TYPE=Release -DGLMQ_WERROR=ON -DGLMQ_TESTS=ON
failed=
ctest --test-dir "$build/test" --output-on-failure --no-tests=error -j "$n" >"$build/test.log" 2>&1 || failed=yes
cat "$build/test.log"
[ -z "$failed" ] || exit 1

step "clang, shared library: built outside programs, all headers"
make_build shared -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ \
    -DBUILD_SHARED_LIBS=ON -DGLMQ_WERROR=ON -DGLMQ_TESTS=ON
ctest --test-dir "$build/shared" --output-on-failure --no-tests=error -R '^(installs|consumer|headers)'

step "AddressSanitizer and UBSan: units, parsers, fuzz corpora, command lines, every call made to fail"
(cd "$root" && make_build asan --preset asan -B "$build/asan" -DGLMQ_WERROR=OFF)
ctest --test-dir "$build/asan" --output-on-failure --no-tests=error -j "$n" -R '^(test_|fuzz_|conformance|cli_)'

step "ThreadSanitizer: sources read and conversions run by several threads"
(cd "$root" && make_build tsan --preset tsan -B "$build/tsan" -DGLMQ_WERROR=OFF)
ctest --test-dir "$build/tsan" --output-on-failure --no-tests=error -R '^(test_io|test_run|test_verify)'

step "Summary of the main run (the others passed)"
sed -n '/tests passed/,$p' "$build/test.log"
