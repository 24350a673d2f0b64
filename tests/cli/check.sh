sample
t glmq-inspect --check sample
glmq-inspect --check --json --tensors=model.norm.weight sample | sed -n "/problems/,\$p"
cp -r sample stale
sed -i 's/00002-of-00002/00003-of-00002/g' stale/model.safetensors.index.json
t glmq-inspect --check stale
cp -r sample short
rm short/model-00002-of-00002.safetensors
t glmq-inspect --check short
t glmq-inspect short
t glmq-convert short out --to f32
t glmq-convert short out --to f32 --allow-incomplete
totals glmq-verify short out
