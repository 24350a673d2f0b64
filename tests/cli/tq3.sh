# TurboQuant is read: F32 holds its values, `same` its bytes, experts apart, and everything else
# is recoded.
cp -r "${GLMQ_DATA:-$GLMQ_CLI_TESTS/../data}/checkpoints/tq3-fused" src
chmod -R u+w src
for to in same f32 gguf:F32; do
    case $to in gguf*) out=out.gguf ;; *) out=$to ;; esac
    t glmq-convert src $out --to $to --transcode=require -q
    glmq-inspect --digest $out | grep -P '^model\t'
done
glmq-inspect --digest src | grep -P '^model\t'
t glmq-convert src never --to gptq --transcode=require
t glmq-convert src never --to tq3
t glmq-convert src q8.gguf --to gguf:Q8_0 -q
t glmq-inspect --tensors='*.layers.1.mlp.experts.2.*' src
t glmq-inspect --tensors='*.layers.1.mlp.experts.2.*' same
t glmq-inspect --check src
rm src/tq_config.json
t glmq-inspect src
