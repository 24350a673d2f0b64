# What is called DST.partial, but is no run's, is never removed; an empty folder may be used.
sample
mkdir out.partial
echo mine >out.partial/notes.txt
for o in '' --resume --overwrite; do t glmq-convert sample out --to bf16 -q $o; done
cat out.partial/notes.txt
rm out.partial/notes.txt
t glmq-convert sample out --to bf16 -q --overwrite
echo mine >other.partial
t glmq-convert sample other --to bf16 -q --overwrite
ls
