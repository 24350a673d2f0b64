# SIGINT leaves a state that --resume goes on from, to the same bytes.  The run is held at its
# first event, whose pipe is full, until the signal is sent.
sample
glmq-convert -q sample whole --to f32
mkfifo pipe
exec 9<>pipe
dd if=/dev/zero bs=4096 count=16 of=/dev/fd/9 2>/dev/null
glmq-convert sample out --to f32 --progress=json 2>&9 &
pid=$!
until grep -q '^SigCgt:.*[2367abef]$' /proc/$pid/status 2>/dev/null; do sleep 0.02; done
sleep 0.2
kill -INT $pid
cat pipe >events 9>&- &
cat=$!
wait $pid
echo "exit $?"
exec 9>&-
wait $cat
[ -e out ] && echo "out exists"
tr -d '\0' <events | sed -nE 's/.*"event": "error", "message": "[^"]*(interrupted)".*/\1/p'
t glmq-convert sample out --to f32 --resume -q
for f in whole/*.safetensors; do cmp "$f" "out/${f#whole/}" && echo same; done
[ -e out.partial ] && echo "out.partial is left"
exit 0
