# Modules that are asymmetric in a symmetric GPTQ checkpoint keep their codes on the way on.
sample
glmq-convert -q sample gptq --to gptq:group=32 --set '*.down_proj.weight=gptq:bits=8,group=32,asym'
totals glmq-convert gptq ct --to compressed-tensors
totals glmq-verify --level=codes gptq ct
totals glmq-convert ct back --to gptq
totals glmq-verify --level=bytes gptq back
