# Warnings that only data shows, on checkpoints of other tools.
fixture glm47-compressed-tensors-g128 ct
fixture glm5-gptq-autoround-reap gptq
fixture glm47-gguf-q8_0/glm47-q8_0.gguf q8_0.gguf
t glmq-inspect --check ct
t glmq-inspect --check gptq
t glmq-inspect --check q8_0.gguf
