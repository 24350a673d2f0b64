# AWQ is read; its codes move to every format that holds them, and the digest stays.
fixture glm47flash-awq-g32-layer1 src
for to in same gptq gptq:v2 compressed-tensors f32; do
    t glmq-convert src "${to%:*}" --to $to --allow-incomplete --transcode=require --overwrite -q
    glmq-inspect --digest "${to%:*}" | grep -P '^model\t'
done
glmq-inspect --digest src | grep -P '^model\t'
glmq-convert src model.gguf --to gguf --allow-incomplete | tail -1
