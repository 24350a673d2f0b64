"""GPTQModel and compressed-tensors dequantize the AWQ that glmq writes to glmq's own values."""
from common import *

need("safetensors", "torch", "gptqmodel", "compressed_tensors")
import torch
from compressed_tensors.compressors.base import BaseCompressor
from compressed_tensors.entrypoints.convert.converters.autoawq import AutoAWQConverter
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from gptqmodel import QuantizeConfig
from gptqmodel.quantization.awq.utils.packing_utils import dequantize_gemm


def by_gptqmodel(q, held):
    """AwqTorchLinear's own arithmetic."""
    QuantizeConfig.from_quant_config(dict(q))  # the loader's own parser takes it
    out = {}
    for key in [k for k in held if k.endswith(".qweight")]:
        p = key[: -len("qweight")]
        qw, qz, sc = held[key], held[p + "qzeros"], held[p + "scales"]
        group = q["group_size"] if q["group_size"] > 0 else qw.shape[0]
        out[p + "weight"] = dequantize_gemm(qw, qz, sc, q["bits"], group).t().contiguous()
    return out


def by_compressed_tensors(q, held):
    """The converter takes what the config's list leaves, unpacks it, and the compressor decodes it."""
    converter = AutoAWQConverter.from_autoawq_config(dict(q), targets=[r"re:.*"])
    converter.validate(dict(held))
    done = converter.process({k: v.clone() for k, v in held.items()})
    group = q["group_size"]
    args = QuantizationArgs(num_bits=4, type="int", symmetric=not q["zero_point"],
                            strategy="group" if group > 0 else "channel", group_size=group if group > 0 else None)
    scheme = QuantizationScheme(targets=["Linear"], weights=args, format="pack-quantized")
    comp, out = BaseCompressor.get_value_from_registry("pack-quantized"), {}
    for key in [k for k in done if k.endswith(".weight_packed")]:
        p = key[: -len("weight_packed")]
        names = ["weight_packed", "weight_scale", "weight_shape"] + ([] if args.symmetric else ["weight_zero_point"])
        if not args.symmetric and done[p + "weight_zero_point"].shape[0] == 1:
            continue  # it cannot unpack a single row of zero points
        out[p + "weight"] = comp.decompress({n: done[p + n] for n in names}, scheme)["weight"]
    return out


c = Checks()
TARGETS = ["awq:group=32", "awq:group=64,sym", "awq:group=-1"]
CASES = [(n, s, t) for n, s in checkpoints("glm47flash-bf16", "glm5-bf16") for t in TARGETS]
CASES += [(n, fixture(n), "awq") for n in ("glm47-compressed-tensors-g32", "glm5-gptq-autoround-reap") if fixture(n)]
with scratch() as tmp:
    for i, (name, src, to) in enumerate(CASES):
        dst = convert(src, f"{tmp}/{i}", to)
        q, held = config(dst)["quantization_config"], tensors(dst)
        ours = tensors(convert(dst, f"{tmp}/{i}-f32", "f32"))
        for peer in (by_gptqmodel, by_compressed_tensors):
            peers = peer(q, held)
            c.that(len(peers) > 0, f"{name} -> {to}: nothing was quantized")
            for key, w in peers.items():
                c.that(same_bits(ours[key].to(w.dtype), w), f"{name} -> {to}: {key}: {peer.__name__} differs")
c.end()
