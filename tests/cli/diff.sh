sample
t glmq-convert -q sample q8.gguf --to gguf:Q8_0
t glmq-inspect --diff q8.gguf sample
t glmq-convert -q sample f32 --to f32 --mtp=drop
totals glmq-inspect --diff f32 sample
totals glmq-inspect --diff sample sample --tensors=model.norm.weight
