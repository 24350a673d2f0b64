# One shard, without its config: the routing bias is known by its name and stays F32.
sample
t glmq-convert sample/model-00001-of-00002.safetensors loose --to bf16
t glmq-inspect --tensors='*e_score_correction_bias' loose
