# Escape sequences in a file must not reach the terminal, and "../" no folder.
printf '{"a\\u001b[31mred":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"__metadata__":{"k\\u0007":"v\\u001b]0;title"}}' >header
safetensors esc.safetensors "$(cat header)" 8
t glmq-inspect --tensors --metadata esc.safetensors
t glmq-inspect --tensors --json esc.safetensors
sample
sed -i 's/model-00002-of-00002/..\/model-00002-of-00002/' sample/model.safetensors.index.json
t glmq-inspect --check sample
