# Rows that are no multiple of the group.  Loaders of compressed-tensors refuse a shorter last
# group, so none is written.
sample
ln -s "$GLMQ_DATA/checkpoints" data
# FP8 has no groups to follow: the target's 128 columns count, and rows have 64
for f in compressed-tensors gptq; do
    t glmq-convert --plan data/ct-mixed out --to $f | grep -E '^(\$|attention.q_a |attention.kv_b )'
done
# A group wider than the row is the row: by channel, with the same codes
t glmq-convert sample wide --to gptq:group=32 --set attention.q=gptq:group=128 -q
t glmq-convert wide ct --to compressed-tensors --transcode=require -q
totals glmq-verify --level=codes wide ct
grep -B3 -A3 '"strategy": "channel"' ct/config.json
# What a rule asks for is refused
t glmq-convert sample out --to compressed-tensors:int4,group=32 --set attention.q=compressed-tensors:int4,group=48
ls
