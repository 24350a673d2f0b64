sample
glmq-convert -q sample out --to bf16 --jobs 1 --progress=json 2>events # one thread: one order
sed -E 's/"eta_s": [^}]*/"eta_s": N/' events | head -n 2 | cut -c 1-40
cut -d '"' -f 4 events | sort | uniq -c | sed 's/^ *//'
tail -n 1 events | grep -o '"done_bytes": [0-9]*, "total_bytes": [0-9]*' |
    awk '{ print $2 == $4 "," ? "all of it" : $0 }'
glmq-convert -q sample out --to bf16 --progress=json 2>events
echo "exit $?"
grep -o '"event": "error", "message": "[^"]*"' events
# The other programs count tensors: their bytes are null.
for run in 'glmq-inspect --digest sample' 'glmq-verify sample out'; do
    $run --progress=json 2>&1 >/dev/null | sed -E 's/"eta_s": [^}]*/"eta_s": N/' | sed -n '1p;2p;$p'
done
