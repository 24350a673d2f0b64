# Act-order on down_proj is undone by permuting gate and up; glmq-verify follows the manifest.
fixture glm47flash-gptq-actorder actorder
t glmq-convert actorder plain --to gptq --unpermute
totals glmq-verify actorder plain
t glmq-inspect --tensors='*.1.mlp.experts.2.*' plain
