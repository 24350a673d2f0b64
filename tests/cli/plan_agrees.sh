# Plan, deep plan and manifest say the same of how each tensor travels, also where rounding a
# decoded value to F16 happens to lose nothing.
sample
travels() { grep -oE '"travel": ?"[^"]*"' "$1" | tr -d ' ' | sort | uniq -c | sed 's/^ *//'; }
glmq-convert sample ct --to compressed-tensors:int4,group=32 -q
for how in --plan --plan=deep; do
    echo $how
    glmq-convert ct half --to f16 --json $how >plan.json
    travels plan.json
done
echo manifest
glmq-convert ct half --to f16 -q
travels half/glmq-manifest.json
