# On a terminal: a bar and coloured problems; NO_COLOR takes the colour, not the bar.
if ! command -v script >/dev/null || ! script -qec true /dev/null >/dev/null 2>&1; then
    echo "no script(1) to make a terminal with"
    exit 77
fi
sample
rm sample/model-00002-of-00002.safetensors
export TERM=xterm
for no in '' 1; do
    NO_COLOR=$no script -qec 'glmq-inspect --check sample' /dev/null >screen
    echo "NO_COLOR=$no: $(grep -c '#####' screen) bar, $(grep -c "$(printf '\033\\[31m')" screen) red lines"
done
glmq-inspect --check sample 2>&1 | grep -c "$(printf '\033')"
exit 0
