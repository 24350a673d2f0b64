sample
t glmq-convert sample a --to gptq:bits=4,group=32 --set 'experts.*=gptq:bits=8,group=32,asym' --keep shared.up --write-recipe rules.json --plan -q >/dev/null
cat rules.json
# The saved rules lead to the same checkpoint.
glmq-convert -q sample a --to gptq:bits=4,group=32 --set 'experts.*=gptq:bits=8,group=32,asym' --keep shared.up
glmq-convert -q sample b --to gptq:bits=4,group=32 --recipe rules.json
for f in a/*.safetensors a/config.json; do cmp "$f" "b/${f#a/}" && echo same; done
t glmq-convert sample c --to bf16 --write-recipe rules.json --plan
printf '{"rules":[{"role":"expert.*","to":"f32"}]}' >bad.json
t glmq-convert sample c --to bf16 --recipe bad.json
printf '{"rules":[{"role":"experts.*"}]}' >bad.json
t glmq-convert sample c --to bf16 --recipe bad.json
printf '[' >bad.json
t glmq-convert sample c --to bf16 --recipe bad.json
