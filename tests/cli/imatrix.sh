# Importance matrices in both forms: shown, and held against a model.
ln -s "$GLMQ_DATA/imatrix" imatrix
sample
t glmq-inspect --check imatrix/sample.gguf
glmq-inspect imatrix/sample.dat | head -6
glmq-inspect --json imatrix/sample.dat | head -20
for f in gguf dat; do
    glmq-convert sample out.gguf --to gguf:Q4_0 --imatrix imatrix/sample.$f --overwrite | head -1
done
glmq-convert sample other.gguf --to gguf:Q4_0 | head -1
cmp out.gguf other.gguf && echo same
t glmq-convert sample never.gguf --to gguf:Q4_0 --imatrix sample
t glmq-convert sample never.gguf --to gguf:Q4_0 --imatrix sample/config.json
t glmq-convert sample never.gguf --to gguf:Q4_0 --imatrix nothing
t glmq-convert sample never.gguf --to gguf:Q4_0 --imatrix out.gguf
head -c 3000 imatrix/sample.dat >cut.dat
t glmq-inspect cut.dat
t glmq-convert sample never.gguf --to gguf:Q4_0 --imatrix cut.dat
sed 's/blk.0.attn_output/blk.0.attn_outpux/' imatrix/sample.dat >named.dat
t glmq-convert sample never.gguf --to gguf:Q4_0 --imatrix named.dat
ls
