# Columns in activation order go to compressed-tensors exactly, with the last version's config that
# knew them, and the plan says so.
cp -r "$GLMQ_CLI_TESTS"/../data/checkpoints/gptq-4-actorder-v1 src
glmq-convert src out --to compressed-tensors --plan --json |
    tr '{' '\n' | grep '"model.layers.0.self_attn.q_proj.weight"' | sed 's/,"rule.*//'
t glmq-convert src out --to compressed-tensors -q
grep -h '"version"\|"actorder"' out/config.json
t glmq-verify --level=codes src out -q
