"""Every safetensors file that glmq writes is, byte for byte, what the reference writer makes of
the same tensors and metadata, and its index says what the files hold."""
from common import *

need("safetensors", "torch")
import safetensors.torch as st
from safetensors import safe_open

c = Checks()
TARGETS = ["bf16", "f32", "gptq:group=32", "compressed-tensors:int4,group=32", "compressed-tensors:int8,channel"]
with scratch() as tmp:
    for name, src in checkpoints("glm47-bf16", "glm5-bf16"):
        for i, to in enumerate(TARGETS):
            dst = convert(src, f"{tmp}/{name}-{i}", to, "--shard-size", "1M")
            for path in shards(dst):
                with safe_open(path, "pt") as f:
                    meta, held = f.metadata(), {k: f.get_tensor(k) for k in f.keys()}
                if len(meta) > 1:  # the reference writes several keys in random order
                    continue
                again = st.save(held, metadata=meta)
                c.that(open(path, "rb").read() == again, f"{path}: not the bytes of the reference writer")
            index = f"{dst}/model.safetensors.index.json"
            if os.path.exists(index):
                j = json.load(open(index))
                held = {k: os.path.basename(p) for p in shards(dst) for k in safe_open(p, "pt").keys()}
                c.that(j["weight_map"] == held, f"{index}: weight_map differs from the files")
                total = sum(t.numel() * t.element_size() for t in tensors(dst).values())
                c.that(j["metadata"]["total_size"] == total, f"{index}: total_size")
c.end()
