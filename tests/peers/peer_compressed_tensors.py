"""The compressed-tensors package decompresses what glmq writes to glmq's own values, and its
config class takes the quantization_config."""
from common import *

need("safetensors", "torch", "compressed_tensors")
import torch
from compressed_tensors.compressors.base import BaseCompressor
from compressed_tensors.quantization import QuantizationConfig


def scheme_for(qc, module):
    """The one group whose targets name this module (or its class)."""
    import re

    def hit(t):
        return re.match(t[3:], module) if t.startswith("re:") else t in (module, "Linear")

    groups = [g for g in qc.config_groups.values() if any(hit(t) for t in g.targets)]
    exact = [g for g in groups if "Linear" not in g.targets] or groups
    return exact[0]


def decompress(folder):
    qc = QuantizationConfig.model_validate(config(folder)["quantization_config"])
    held, out = tensors(folder), {}
    for key in held:
        if not key.endswith(".weight_packed"):
            continue
        p = key[: -len("weight_packed")]
        scheme = scheme_for(qc, p[:-1])
        comp = BaseCompressor.get_value_from_registry(scheme.format or qc.format)
        state = {n: held[p + n] for n in comp.compression_param_names(scheme) if p + n in held}
        if scheme.weights.symmetric is False and held[p + "weight_zero_point"].shape[0] == 1:
            continue  # compressed-tensors 0.20 cannot unpack a single packed row of zero points
        out[p + "weight"] = comp.decompress(state, scheme)["weight"]
    return out


def takes_act_order():
    """compressed-tensors 0.20 dropped activation order by group, with which it cannot even read
    older checkpoints; there is no other exact form of it."""
    from compressed_tensors.quantization import QuantizationArgs

    try:
        QuantizationArgs(num_bits=4, group_size=32, strategy="group", actorder="group")
        return True
    except ValueError:
        return False


c = Checks()
TARGETS = ["compressed-tensors:int4,group=32", "compressed-tensors:int4,group=32,asym", "compressed-tensors:int8,channel",
           "compressed-tensors:int8,group=64", "compressed-tensors:nvfp4", "compressed-tensors:mxfp4"]
CASES = [(n, s, t) for n, s in checkpoints("glm47-bf16", "glm5-bf16") for t in TARGETS]
CASES += [(n, fixture(n), "compressed-tensors") for n in
          ("glm5-gptq-autoround-reap", "glm47flash-gptq-actorder", "glm47-compressed-tensors-g32") if fixture(n)]
CASES += [(n, fixture(n), "compressed-tensors:nvfp4") for n in
          ("glm5-nvfp4-modelopt", "glm47flash-nvfp4-compressed-tensors") if fixture(n)]
with scratch() as tmp:
    for i, (name, src, to) in enumerate(CASES):
        if "actorder" in name and not takes_act_order():
            print(f"left out: {name}: this compressed-tensors has no activation order")
            continue
        dst = convert(src, f"{tmp}/{i}", to)
        ours = tensors(convert(dst, f"{tmp}/{i}-f32", "f32"))
        peers = decompress(dst)
        c.that(len(peers) > 0, f"{name} -> {to}: nothing was quantized")
        for key, w in peers.items():
            c.that(same_bits(ours[key].to(w.dtype), w), f"{name} -> {to}: {key}: the package decodes something else")
c.end()
