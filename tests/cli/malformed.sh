# Every one of them: a message with the place, status 3 (1 where the system says no), no crash.
t glmq-inspect nothing-here
mkdir empty
t glmq-inspect empty
: >zero.safetensors
t glmq-inspect zero.safetensors
head -c 7 /dev/zero >seven.safetensors
t glmq-inspect seven.safetensors
{ le64 18446744073709551615; echo '{}'; } >huge.safetensors
t glmq-inspect huge.safetensors
safetensors trailing.safetensors '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}' 9
t glmq-inspect trailing.safetensors
safetensors overlap.safetensors '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}' 12
t glmq-inspect overlap.safetensors
safetensors wrap.safetensors '{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}' 0
t glmq-inspect wrap.safetensors
safetensors twice.safetensors '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\u0061":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}' 2
t glmq-inspect twice.safetensors
printf 'GGUF\003\000\000\000' >short.gguf
t glmq-inspect short.gguf
{ printf 'GGUF\011\000\000\000'; le64 0; le64 0; } >future.gguf
t glmq-inspect future.gguf
{ printf 'GGUF\003\000\000\000'; le64 1099511627776; le64 0; } >many.gguf
t glmq-inspect many.gguf
sample
printf '{' >sample/config.json
t glmq-inspect sample
rm sample/config.json
truncate -s -1 sample/model-00002-of-00002.safetensors
t glmq-convert sample out --to bf16
t glmq-verify sample sample
ls
