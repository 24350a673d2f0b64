sample
t glmq-inspect --json --tensors='router*' sample
t glmq-inspect --json --tensors=model.norm.weight --digest --shards --config --metadata sample
# Every tensor is a row, whatever the number of threads.
glmq-inspect --json sample >one
glmq-inspect --json -j 7 --digest sample | grep -v '^ "digest": ' | sed 's/, "digest": "[0-9a-f]*"//' | cmp - one
