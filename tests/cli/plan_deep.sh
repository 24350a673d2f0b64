sample
# Scales that were BF16 fit F16 or not: only the values tell.
glmq-convert -q sample ct --to compressed-tensors:int4,group=32
glmq-convert ct out.gguf --to gguf --plan | grep -c 'same-codes?'
glmq-convert ct out.gguf --to gguf --plan=deep | grep -c 'same-codes?'
t glmq-convert ct out.gguf --to gguf --transcode=require --verify
# Asymmetric from symmetric is not moving: refused before anything is written.
t glmq-convert ct refused --to gptq:bits=4,group=64,sym --transcode=require
ls
