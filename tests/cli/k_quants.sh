# Types that are only decoded: copied as they are, decoded into any other, never made.
fixture glm5-gguf-q4_k_m kq
sample
t glmq-convert kq same.gguf --to same
t glmq-convert kq auto.gguf --to gguf
totals glmq-verify --level=bytes kq auto.gguf
t glmq-convert kq wide --to f32
totals glmq-verify --level=values kq wide
t glmq-convert kq kept.gguf --to gguf:Q8_0 --set 'experts.*=same'
for p in kq same.gguf auto.gguf wide; do glmq-inspect --digest $p | grep -P '^model\t'; done
t glmq-convert sample never --to gguf:Q4_K_M
t glmq-convert sample never --to gguf:Q8_0 --set 'experts.down=iq4_nl'
t glmq-convert kq never --to gguf --set 'experts.down=iq3_s'
t glmq-convert kq never --to gguf --transcode=never
t glmq-convert kq never --to bf16 --set 'experts.down=q6_k'

# The label in general.file_type (4 bytes behind the key and its type): 14 is Q4_K_S, and stays.
label() { grep -abo -m1 general.file_type "$1" | head -n 1 | cut -d: -f1; }
cp kq/glm5-q4_k_m.gguf labelled.gguf && chmod u+w labelled.gguf
printf '\016' | dd of=labelled.gguf bs=1 seek=$(($(label labelled.gguf) + 21)) conv=notrunc status=none
glmq-convert labelled.gguf again.gguf --to same | head -n 2
od -An -tu4 -j $(($(label again.gguf) + 21)) -N 4 again.gguf
ls
