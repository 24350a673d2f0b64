# Read in before every test.

# Shows a command and its exit status around its output.
t() {
    printf '$ %s\n' "$*"
    "$@"
    local rc=$?
    [ $rc -eq 0 ] || printf '[exit %d]\n' $rc
    return 0
}

# The sample checkpoint as ./sample.
sample() {
    mkdir sample && cp "$GLMQ_SAMPLES"/glm4-moe-tiny/* sample/ && chmod u+w sample sample/*
}

# fixture NAME [AS]: a fixture checkpoint as ./AS, or skip.
fixture() {
    if [ ! -e "$GLMQ_FIXTURES/$1" ]; then
        echo "no fixture $1"
        exit 77
    fi
    ln -s "$GLMQ_FIXTURES/$1" "${2:-$1}"
}

# le64 N: eight bytes, little-endian.
le64() {
    local n=$1 i
    for i in 1 2 3 4 5 6 7 8; do
        printf "\\x$(printf %02x $((n & 255)))"
        n=$((n >> 8))
    done
}

# safetensors FILE HEADER [DATA-BYTES]: a file with this header and that many zero bytes.
safetensors() {
    { le64 ${#2}; printf '%s' "$2"; head -c "${3:-0}" /dev/zero; } >"$1"
}

# Times differ from run to run, memory with the implementation.
no_times() {
    sed -E 's/needs at most [0-9.]+ [kMG]?B/needs at most N/; s/"peak_bytes": [0-9]+/"peak_bytes": N/; s/^about [0-9.]+ (s|min) on this machine/about N s on this machine/; s/"estimated_s": [0-9.e+-]+/"estimated_s": N/'
}

# Like t, for a comparison: from the totals on, without its tables.
totals() {
    printf '$ %s\n' "$*"
    "$@" | sed -nE '/^[0-9]+ (tensors|arrays): |^  /,$p'
    local rc=${PIPESTATUS[0]}
    [ "$rc" -eq 0 ] || printf '[exit %d]\n' "$rc"
    return 0
}
