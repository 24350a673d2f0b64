t glmq-inspect --version
t glmq-convert --version
t glmq-verify --version
t glmq-convert --list-formats
# What comes first ends the program: nothing else is asked for.
t glmq-verify --version --no-such-option
