sample
t glmq-inspect --dump model.layers.1.mlp.gate.weight -o gate.npy sample
head -c 128 gate.npy | tail -c 118
wc -c <gate.npy
t glmq-inspect --dump model.layers.1.mlp.gate.e_score_correction_bias -o bias.npy sample
tail -c 16 bias.npy | od -An -tx4 --endian=little
t glmq-inspect --dump model.layers.1.mlp.gate.e_score_correction_bias --raw -o bias sample
od -An -tx4 --endian=little bias.codes
t glmq-inspect --dump model.layers.1.mlp.gate.weight -o gate.npy sample
t glmq-inspect --dump model.layers.1.mlp.gate -o other.npy sample
t glmq-inspect --dump model.norm.weight -o no/such/folder.npy sample
ls
