# FP8 is read: F32 holds its values, `same` its bytes, and everything else is recoded.
fixture glm47-fp8-block src
for to in same f32 gguf:F32; do
    case $to in gguf*) out=out.gguf ;; *) out=$to ;; esac
    t glmq-convert src $out --to $to --transcode=require -q
    glmq-inspect --digest $out | grep -P '^model\t'
done
glmq-inspect --digest src | grep -P '^model\t'
t glmq-convert src never --to gptq --transcode=require
t glmq-convert src never --to same --transcode=never
t glmq-convert src never --to fp8
t glmq-convert src never --to gptq --set experts.up=fp8
t glmq-convert src int4 --to compressed-tensors -q
glmq-inspect --tensors='*.layers.1.self_attn.*_proj.weight' int4
fixture fp8-block-ragged/ragged.safetensors ragged.safetensors
t glmq-inspect --digest ragged.safetensors
