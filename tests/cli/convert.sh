sample
t glmq-convert sample model.gguf --to gguf --verify
t glmq-convert model.gguf back --to bf16
totals glmq-verify sample back
cmp sample/model-00001-of-00002.safetensors back/model-00001-of-00002.safetensors 2>/dev/null || ls back
# What is there is not touched.
t glmq-convert sample back --to f16
t glmq-convert sample model.gguf --to gguf:Q8_0
t glmq-convert sample back --to f16 --overwrite --json
t glmq-convert sample mixed --to gptq:bits=8,group=32 --keep 'attention.*' --set shared.down=f32
t glmq-inspect --tensors='*.layers.1.*_proj.weight' mixed
t glmq-convert sample small --to bf16 --shard-size 200K
t glmq-inspect --shards small
t glmq-convert sample nomtp --to bf16 --mtp=drop
totals glmq-verify sample nomtp
t glmq-convert nomtp never --to bf16 --mtp=require
ls
