sample
glmq-convert sample out --to compressed-tensors:int8,channel --plan --json -j 1 | no_times
ls
