t glmq-verify --man
