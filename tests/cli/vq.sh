# Codebooks: found, given, or missing; and what becomes of checkpoints that have them.
cp -r "$GLMQ_DATA/checkpoints/vq-mixed" src && chmod -R u+w src
t glmq-inspect --check src
glmq-inspect src | grep -E 'bits per weight|experts\.|attention\.o'
for to in same f32 gguf:F32; do
    case $to in gguf*) out=out.gguf ;; *) out=$to ;; esac
    t glmq-convert src $out --to $to --transcode=require -q
    glmq-inspect --digest $out | grep -P '^model\t'
done
glmq-inspect --digest src | grep -P '^model\t'
cmp src/model.safetensors same/model.safetensors && ls same f32
t glmq-verify --level=codes src same | tail -n 2
t glmq-convert src never --to vq
t glmq-convert src never --to same --set experts.up=q8_0
mkdir books && mv src/books.safetensors books
t glmq-inspect -q src | grep codebook
t glmq-convert src never --to bf16
t glmq-convert src never --to bf16 --allow-incomplete -q
t glmq-inspect --digest -q src
glmq-inspect --digest src --vq-codebooks books | grep -P '^model\t'
VQ_CODEBOOKS_DIR=books glmq-inspect --digest src | grep -P '^model\t'
t glmq-inspect --check src --vq-codebooks books
t glmq-inspect src --vq-codebooks nowhere
cp -r "$GLMQ_DATA/checkpoints/aqlm-3x6" aqlm && chmod -R u+w aqlm
for to in same f32; do
    t glmq-convert aqlm aqlm-$to --to $to --transcode=require -q
    glmq-inspect --digest aqlm-$to | grep -P '^model\t'
done
glmq-inspect --digest aqlm | grep -P '^model\t'
t glmq-inspect --tensors='*.layers.1.self_attn.*_proj.weight' aqlm
ls
