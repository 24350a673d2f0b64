# A format that this version does not read is named, with the file and what was seen: status 4.
for f in glm5-nvfp4-modelopt glm47flash-nvfp4-compressed-tensors; do
    fixture $f
    t glmq-inspect $f
    t glmq-convert $f out --to bf16
done
ls
