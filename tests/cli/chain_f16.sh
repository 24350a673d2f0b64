# An F16 model through a GGUF, whose norms are F32: they come back as the F16 they were.
sample
glmq-convert -q sample f16 --to f16 && glmq-convert -q f16 ct --to compressed-tensors:int4,group=32
t glmq-convert -q ct q4_0.gguf --to gguf:q4_0
t glmq-convert -q q4_0.gguf gptq --to gptq
t glmq-convert -q gptq back --to compressed-tensors
totals glmq-verify --level=bytes ct back
for p in ct gptq back; do grep -hE '"(torch_)?dtype":' $p/config.json; done
