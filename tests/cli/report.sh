sample
totals glmq-convert sample q4.gguf --to gguf:Q4_0 --report report.json
grep -E '"(level|passed|tensors|exact|differ)"' report.json | head -n 5
totals glmq-convert sample q4b.gguf --to gguf:Q4_0 --report report.json
totals glmq-convert sample q4b.gguf --to gguf:Q4_0 --report report.html -q
head -c 15 report.html
echo
t glmq-convert sample q8.gguf --to gguf:Q8_0 --json --verify
