"""ModelOpt's own NVFP4 tensor reads what glmq writes as NVFP4 to glmq's values, and the weights that
share a scale in ModelOpt share one here."""
from common import *

need("safetensors", "torch", "modelopt")
import torch
from modelopt.torch.quantization.qtensor import NVFP4QTensor


def dequantize(folder):
    held = tensors(folder)
    for key in held:
        if key.endswith(".weight_scale_2"):
            p = key[: -len("weight_scale_2")]
            w, s = held[p + "weight"], held[p + "weight_scale"]
            q = NVFP4QTensor(torch.Size((w.shape[0], w.shape[1] * 2)), torch.float32, w)
            yield p, q.dequantize(dtype=torch.float32, scale=s, double_scale=held[key], block_sizes={-1: 16}), held


c = Checks()
with scratch() as tmp:
    for i, (name, src) in enumerate(checkpoints("glm47-bf16", "glm5-bf16", "glm5-nvfp4-modelopt", "glm47flash-nvfp4-compressed-tensors")):
        dst = convert(src, f"{tmp}/{i}", "nvfp4")
        ours, n = tensors(convert(dst, f"{tmp}/{i}-f32", "f32")), 0
        for p, w, held in dequantize(dst):
            c.that(same_bits(ours[p + "weight"], w), f"{name}: {p}weight: ModelOpt decodes something else")
            up = p.replace("gate_proj", "up_proj")
            c.that(torch.equal(held[p + "weight_scale_2"], held[up + "weight_scale_2"]), f"{name}: {p}: another scale than up_proj's")
            n += 1
        c.that(n > 0, f"{name}: nothing was quantized")
        own = json.load(open(f"{dst}/hf_quant_config.json"))["quantization"]
        quant = config(dst)["quantization_config"]
        inputs = any(k.endswith(".input_scale") for k in tensors(dst))
        c.that(own["quant_algo"] == quant["quant_algo"] == ("NVFP4" if inputs else "W4A16_NVFP4"), f"{name}: quant_algo")
        c.that(own["exclude_modules"] == quant["ignore"] and "lm_head" in quant["ignore"], f"{name}: modules in floats")
c.end()
