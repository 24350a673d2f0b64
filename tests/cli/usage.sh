sample
t glmq-inspect
t glmq-inspect sample another
t glmq-inspect --shrads sample
t glmq-inspect --zzzzzz sample
t glmq-inspect -x sample
t glmq-inspect --jobs sample
t glmq-inspect --jobs=0 sample
t glmq-inspect --jobs 2x sample
t glmq-inspect --memory=lots sample
t glmq-inspect --progress=often sample
t glmq-inspect --json=yes sample
t glmq-inspect sample --from
t glmq-inspect --from gptk sample
t glmq-inspect --raw sample
t glmq-inspect --dump model.norm.weight sample
t glmq-inspect -o x sample
t glmq-inspect --tensors=nothing.* sample
t glmq-convert sample
t glmq-convert sample out
t glmq-convert sample out --to=ggfu
t glmq-convert sample out --to gptq:bits=5
t glmq-convert sample out --to bf16 --set embed
t glmq-convert sample out --to bf16 --set embed=q9_0
t glmq-convert sample out --to bf16 --set attention.z=f32
t glmq-convert sample out --to bf16 --recipe none.json
t glmq-convert sample out --to bf16 --plan --verify
t glmq-convert sample out --to bf16 --transcode=maybe
t glmq-convert sample out --to bf16 --shard-size=0
t glmq-verify sample
t glmq-verify sample sample --max-rmse=-1
t glmq-verify sample sample --level=forward
t glmq-verify sample sample --tensors=zzz
t glmq-inspect --tens sample
t glmq-inspect ''
t glmq-convert sample out --to bf16 --recipe kepe-attention
t glmq-convert sample out --to bf16 --report out.txt
t glmq-convert sample out --to bf16 --report no/such/folder/out.json
# An operand that looks like an option, and options behind operands.
t glmq-inspect -- --no-such-file
t glmq-inspect sample --tensors=model.norm.weight -q
ls
