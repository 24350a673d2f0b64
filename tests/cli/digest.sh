sample
t glmq-inspect --digest sample
# The lines, sorted, hash to the model's digest; so it does not hang on the number of threads.
glmq-inspect --digest -j 1 sample >one
glmq-inspect --digest -j 8 sample | cmp - one && echo same
