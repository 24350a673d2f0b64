sample
glmq-convert -q sample q8.gguf --to gguf:Q8_0
glmq-convert -q sample f32 --to f32
totals glmq-verify sample f32
t glmq-verify sample q8.gguf
totals glmq-verify --max-rmse 0.01 sample q8.gguf
totals glmq-verify --max-rmse 1e-9 --tensors=embed sample q8.gguf
totals glmq-verify --level=codes --tensors='router*' sample q8.gguf
totals glmq-verify --level=bytes sample q8.gguf
t glmq-verify --level=bytes sample f32 --tensors='*norm*'
totals glmq-verify --level=bytes -q sample sample --tensors='norm'
t glmq-verify --json --tensors='model.layers.1.mlp.experts.2.*' --max-rmse 0.5 sample q8.gguf
totals glmq-verify --html page.html --tensors=norm sample f32
grep -c '<tr>' page.html
totals glmq-verify --html page.html sample f32
# The same numbers with any number of threads.
glmq-verify -v -j 1 sample q8.gguf >one
glmq-verify -v -j 6 sample q8.gguf | cmp - one && echo same
glmq-verify --memory 1K --tensors=embed sample q8.gguf 2>&1 | sed "s/needs [0-9]*/needs N/"
