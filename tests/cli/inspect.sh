sample
t glmq-inspect sample
t glmq-inspect --tensors='experts.down' sample
t glmq-inspect --tensors='model.layers.1.mlp.gate*' --digest sample
t glmq-inspect --shards --config sample
t glmq-inspect --metadata sample
