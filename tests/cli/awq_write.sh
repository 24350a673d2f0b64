# AWQ is written: what its config says, and what it cannot.
sample
ln -s "$GLMQ_DATA/checkpoints" data
t glmq-convert sample awq --to awq:group=32
sed -n '/quantization_config/,/^  }/p' awq/config.json
t glmq-inspect --check awq
glmq-inspect awq | grep -E '^(attention.q|experts.down|router) '
t glmq-convert sample sym --to awq:group=-1,sym -q
grep -E '"(group_size|zero_point)"' sym/config.json
# codes of other widths and orders
t glmq-convert --plan data/gptq-8-v2 out --to awq | grep -E '^(experts.down|attention.q_b) '
t glmq-convert --plan data/gptq-4-actorder-v1 out --to awq | grep -E '^(experts.down|attention.q) '
t glmq-convert data/gptq-mixed out --to awq
t glmq-convert data/gptq-mixed out --to awq:group=16 --overwrite
t glmq-convert sample out --to awq:bits=8
t glmq-convert sample out --to awq:group=48
t glmq-convert sample out --to awq:v2
t glmq-convert sample out --to same --set experts.up=awq
ls
