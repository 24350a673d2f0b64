t glmq-inspect --help
t glmq-convert --help
t glmq-verify -h
for p in inspect convert verify; do
    # One screen, and no line that an ordinary terminal breaks.
    glmq-$p --help | awk -v p=$p '{ if (length > 100) print p ": too wide: " $0 } END { if (NR > 50) print p ": too long" }'
    glmq-$p --completion | bash -n && echo "completion of $p reads well"
done
