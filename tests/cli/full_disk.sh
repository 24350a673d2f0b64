sample
if [ ! -w /dev/full ]; then
    echo "no /dev/full"
    exit 77
fi
glmq-inspect --json sample >/dev/full
echo "exit $?"
glmq-inspect --help >/dev/full
echo "exit $?"
# A limit on file sizes stands in for a full disk: nothing that looks finished is left.
(ulimit -f 100; glmq-convert -q sample out --to f32)
echo "exit $?"
[ -e out ] && echo "out exists"
[ -e out.partial ] && echo "out.partial is left, though nothing was done"
exit 0
