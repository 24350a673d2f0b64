"""GPTQModel's own linear module dequantizes what glmq writes to glmq's own values."""
from common import *

need("safetensors", "torch", "gptqmodel")
import torch
from gptqmodel import QuantizeConfig
from gptqmodel.nn_modules.qlinear.torch import TorchLinear
from gptqmodel.utils.model import convert_gptq_v1_to_v2_format_module


def dequantize(folder):
    q = config(folder)["quantization_config"]
    held, out = tensors(folder), {}
    side = json.load(open(f"{folder}/quantize_config.json"))
    for key in ("bits", "group_size", "sym", "desc_act", "checkpoint_format"):
        if side[key] != q[key]:
            sys.exit(f"{folder}: quantize_config.json and config.json disagree in {key}")
    QuantizeConfig.from_quant_config(dict(q))  # the loader's own parser takes it
    for key in held:
        if not key.endswith(".qweight"):
            continue
        p = key[: -len("qweight")]
        qw, sc = held[key], held[p + "scales"]
        bits, group, n = q["bits"], q["group_size"], sc.shape[1]
        k = qw.shape[0] * 32 // bits
        m = TorchLinear(bits=bits, group_size=group, sym=q["sym"], desc_act=q["desc_act"], in_features=k, out_features=n)
        m.qweight, m.qzeros, m.scales, m.g_idx = qw, held[p + "qzeros"].clone(), sc, held[p + "g_idx"]
        if q["checkpoint_format"] == "gptq":
            convert_gptq_v1_to_v2_format_module(m, bits=bits, pack_dtype=torch.int32)
        m.post_init()
        out[p + "weight"] = m.dequantize_weight().t().contiguous()
    return out


c = Checks()
TARGETS = ["gptq:group=32", "gptq:bits=8,group=32", "gptq:group=32,asym,v2", "gptq:group=64,asym"]
CASES = [(n, s, t) for n, s in checkpoints("glm47-bf16", "glm5-bf16") for t in TARGETS]
CASES += [(n, fixture(n), "gptq") for n in
          ("glm47-compressed-tensors-g32", "glm47-compressed-tensors-g128", "glm47flash-gptq-actorder") if fixture(n)]
with scratch() as tmp:
    for i, (name, src, to) in enumerate(CASES):
        dst = convert(src, f"{tmp}/{i}", to)
        ours = tensors(convert(dst, f"{tmp}/{i}-f32", "f32"))
        peers = dequantize(dst)
        c.that(len(peers) > 0, f"{name} -> {to}: nothing was quantized")
        for key, w in peers.items():
            if ours[key].shape[0] % 32:
                continue  # GPTQModel's module pads such rows; it is not how it would load them
            c.that(same_bits(ours[key].to(w.dtype), w), f"{name} -> {to}: {key}: GPTQModel decodes something else")
c.end()
