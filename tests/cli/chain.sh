# The same codes in four packings, and back to the very bytes.
fixture glm47-compressed-tensors-g32 ct
t glmq-convert ct q4_0.gguf --to gguf
t glmq-convert q4_0.gguf gptq --to gptq
t glmq-convert gptq back --to compressed-tensors
totals glmq-verify --level=bytes ct back
for p in ct q4_0.gguf gptq back; do glmq-inspect --digest $p | grep -P '^model\t'; done
totals glmq-verify --level=codes ct gptq
