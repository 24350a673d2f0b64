# The reference parser's verdict on every small file, and ours: the same, but for duplicate
# names, which the format forbids and the reference lets pass.
for file in "$GLMQ_CLI_TESTS"/../data/safetensors-cases/*.safetensors; do
    name=$(basename "$file" .safetensors)
    glmq-inspect "$file" >/dev/null 2>&1
    echo "$name $?"
done
# A loose file does not say what may be quantized.
cp "$GLMQ_SAMPLES"/glm4-moe-tiny/model-00001-of-00002.safetensors loose.safetensors
t glmq-convert loose.safetensors out --to gptq:group=32
