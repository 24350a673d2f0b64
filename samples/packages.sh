# Sourced by quickstart.sh and tests/run.sh: installs the Debian or Ubuntu packages that
# are missing.  Elsewhere it says what is needed and lets the build find out.
#
#   need_packages PACKAGE...

need_packages() {
    if ! command -v dpkg-query >/dev/null 2>&1; then
        echo "not a Debian or Ubuntu system; these are needed by whatever name: $*"
        return 0
    fi
    missing=
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' ||
            missing="$missing $package"
    done
    [ -z "$missing" ] && return 0
    as_root=
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null 2>&1; then
            echo "missing packages:$missing (neither root nor sudo: please install them)" >&2
            return 1
        fi
        as_root=sudo
    fi
    echo "installing:$missing"
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq &&
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
}

BUILD_PACKAGES="cmake ninja-build gcc libc6-dev pkg-config libzstd-dev libcjson-dev libxxhash-dev libarchive-dev libpcre2-dev"
TEST_PACKAGES="g++ clang clang-format libcmocka-dev"

# How many compilers to run at once.
processors() {
    nproc 2>/dev/null || echo 2
}
