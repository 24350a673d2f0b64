# A companion under another name: told by --check with all the rest, and refused by whatever needs the weights.
mkdir broken
cp "$GLMQ_DATA"/checkpoints/gptq-4-asym-v1/config.json "$GLMQ_DATA"/checkpoints/gptq-4-asym-v1/model.safetensors broken/
chmod u+w broken/*
LC_ALL=C sed -i 's/model.layers.1.mlp.experts.2.up_proj.qzeros/model.layers.1.mlp.experts.2.up_proj.qzerox/' broken/model.safetensors
t glmq-inspect --check broken
t glmq-inspect --check --json --tensors=model.norm.weight broken | sed -n '/problems/,$p'
t glmq-inspect broken
t glmq-inspect --digest=model.norm.weight broken
t glmq-convert broken out --to bf16
t glmq-convert broken out --to bf16 --allow-incomplete
ls
