"""TurboQuant's own decoder gives glmq's values for what glmq copies, fused experts taken apart."""
from common import *

need("safetensors", "torch", "turboquant_vllm", "scipy")
import torch
from turboquant_vllm.torch_ops import PolarQuantTorch
from turboquant_vllm.weight_quant import select_bits, unpack_indices

DATA = os.path.join(ROOT, "tests", "data", "checkpoints")


def decode(folder):
    """As the package's loader does it, by tq_config.json and the arrays alone."""
    q, held, out = json.load(open(f"{folder}/tq_config.json")), tensors(folder), {}
    packed = [k.removesuffix(".tq_packed") for k in held if k.endswith(".tq_packed")]
    if len(packed) != q["compressed_layers"]:
        sys.exit(f"{folder}: {len(packed)} packed tensors, compressed_layers is {q['compressed_layers']}")
    for name in packed:
        norms = held[name + ".tq_norms"]
        bits = select_bits(name, q["bits"], q.get("sensitive_bits"), tuple(q.get("sensitive_patterns", ("o_proj", "down_proj"))))
        coder = PolarQuantTorch(q["group_size"], bits, seed=q["quantizer_seed"], device="cpu")
        index = unpack_indices(held[name + ".tq_packed"], bits, q["group_size"])
        w = coder.dequantize(index, norms.reshape(-1)).reshape(norms.shape[0], -1)
        out[name] = w[:, : q.get("orig_in_dims", {}).get(name, w.shape[1])].contiguous()
    return out


c = Checks()
CASES = [(n, os.path.join(DATA, n)) for n in ("tq3-fused", "tq3-g64-mixed")]
CASES += [(n, fixture(n)) for n in ("glm5-tq3", "glm5-tq3-v07", "glm47flash-tq3", "glm47flash-tq3-mixed") if fixture(n)]
with scratch() as tmp:
    for name, src in CASES:
        peers = decode(convert(src, f"{tmp}/{name}", "same"))
        ours = tensors(convert(src, f"{tmp}/{name}-f32", "f32"))
        for key, w in peers.items():
            c.that(same_bits(ours[key], w), f"{name}: {key}: the package decodes something else")
c.end()
