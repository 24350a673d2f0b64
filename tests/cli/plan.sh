sample
glmq-convert sample out --to gptq:bits=4,group=32 --plan -j 1 | no_times
glmq-convert sample out.gguf --to gguf:Q4_0 --plan --mtp=drop -j 1 | no_times
# A plan's sizes are those of the files.
glmq-convert sample out.gguf --to gguf:Q4_0 --plan --json | sed -n 's/.*"file": "out.gguf", "bytes": \([0-9]*\).*/\1/p' >planned
ls
glmq-convert -q sample out.gguf --to gguf:Q4_0
wc -c <out.gguf | cmp - planned && echo "as planned"
