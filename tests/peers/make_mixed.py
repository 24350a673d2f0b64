#!/usr/bin/env python3
"""Makes the checkpoints of tests/data/checkpoints whose modules are encoded unlike, and those of older
packings, as make_data.py does: packed and decoded by the formats' own packages.

usage: make_mixed.py MAKE_SAMPLE OUT [OLD]
OLD: a folder with a compressed-tensors before 0.17 (pip install --target OLD compressed-tensors==0.15.0);
     with it only the checkpoint in its packing is made.
"""
import json
import re
import sys

if len(sys.argv) > 3:
    sys.path.insert(0, sys.argv.pop(3))
    OLD = True
else:
    OLD = False

import torch
from make_data import LINEAR, base, finish

DSA = ["--arch", "glm_moe_dsa", "--hidden", 64, "--layers", 2, "--experts", 3, "--moe", 32, "--dense", 64, "--vocab", 352,
       "--mtp", 0]
LITE = ["--arch", "glm4_moe_lite", "--hidden", 64, "--layers", 2, "--experts", 4, "--moe", 64, "--dense", 96, "--mtp", 0,
        "--vocab", 352]


def ct_scheme(targets, fmt, **weights):
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

    return QuantizationScheme(targets=targets, weights=QuantizationArgs(**weights), format=fmt)


def ct_groups(w, args):
    """The weights that share a scale, as [..., members]."""
    strategy = str(getattr(args.strategy, "value", args.strategy))
    if strategy == "tensor":
        return w.reshape(1, -1)
    if strategy == "block":
        r, c = args.block_structure
        pad = torch.nn.functional.pad(w, (0, -w.shape[1] % c, 0, -w.shape[0] % r))
        return pad.reshape(pad.shape[0] // r, r, -1, c).transpose(1, 2).reshape(pad.shape[0] // r, -1, r * c)
    return w.reshape(w.shape[0], -1, args.group_size or w.shape[1])


def compressed_tensors(name, args, schemes, ignore, config_format, version=None):
    """`schemes`: (name of the group, scheme); the last whose own pattern matches counts."""
    from compressed_tensors.compressors.base import BaseCompressor
    from compressed_tensors.quantization import QuantizationConfig
    from compressed_tensors.quantization.utils import calculate_qparams

    folder, config, tensors = base(name, *args)
    out, decoded, kept = {}, {}, []
    for key, w in tensors.items():
        p = key.removesuffix(".weight")
        if not LINEAR.search(key) or any(re.match(i.removeprefix("re:"), p) for i in ignore):
            out[key] = w
            if w.dim() == 2 and not any(re.match(i.removeprefix("re:"), p) for i in ignore):
                kept.append(p)
            continue
        scheme = next(s for s in reversed([s for _, s in schemes])
                      if any(t in ("Linear", p) or (t.startswith("re:") and re.match(t[3:], p)) for t in s.targets))
        g = ct_groups(w, scheme.weights)
        scale, zero = calculate_qparams(g.amin(-1), g.amax(-1), scheme.weights)
        if str(getattr(scheme.weights.strategy, "value", scheme.weights.strategy)) == "tensor":
            scale, zero = scale.reshape(1), zero.reshape(1)
        state = {"weight": w, "weight_scale": scale.to(torch.bfloat16)}
        if not scheme.weights.symmetric:
            state["weight_zero_point"] = zero
        comp = BaseCompressor.get_value_from_registry(scheme.format)
        packed = comp.compress(dict(state), scheme)
        decoded[key] = comp.decompress(dict(packed), scheme)["weight"]
        out.update({f"{p}.{k}": v.contiguous() for k, v in packed.items()})
    qc = QuantizationConfig(config_groups=dict(schemes), format=config_format, ignore=ignore + sorted(kept),
                            quantization_status="compressed")
    config["quantization_config"] = json.loads(qc.model_dump_json())
    if version:
        config["quantization_config"]["version"] = version
    finish(folder, config, out, decoded)


def gptq(name, args, fmt, dynamic):
    """4 bits in groups of 32, but for what `dynamic` says, resolved by GPTQModel."""
    from gptqmodel.nn_modules.qlinear.torch import TorchLinear
    from gptqmodel.quantization.config import dynamic_get
    from gptqmodel.utils.model_dequant import pack_cols
    from gptqmodel.utils.planar_packing import planar_pack_cols, planar_pack_rows

    folder, config, tensors = base(name, *args)
    out, decoded, kept = {}, {}, {}
    for key, w in tensors.items():
        p, says = key.removesuffix(".weight"), dynamic_get(dynamic, key.removesuffix(".weight"))
        if not LINEAR.search(key) or says is False or w.shape[1] % 32 or w.shape[0] % 32:
            out[key] = w
            if w.dim() == 2 and says is not False:
                kept[f"-:^{re.escape(p)}$"] = {}
            continue
        says = says or {}
        n, k = w.shape
        bits, group, sym = says.get("bits", 4), says.get("group_size", 32), says.get("sym", True)
        group = k if group == -1 else group
        g_idx = torch.arange(k, dtype=torch.int32) // group
        if says.get("desc_act"):
            g_idx = g_idx[torch.randperm(k, generator=torch.Generator().manual_seed(k))].contiguous()
        top = (1 << bits) - 1
        scale, zero = torch.empty(-(-k // group), n), torch.empty(-(-k // group), n, dtype=torch.int32)
        for i in range(scale.shape[0]):
            part = w.float()[:, g_idx == i]
            lo, hi = part.amin(1).clamp(max=0), part.amax(1).clamp(min=0)
            s = part.abs().amax(1) * 2 / top if sym else (hi - lo) / top
            scale[i], zero[i] = s, (1 << (bits - 1)) if sym else (-lo / s).round().clamp(1, top).int()
        scale = scale.half()
        q = (w.float().t() / scale.float()[g_idx.long()] + zero[g_idx.long()]).round().clamp(0, top).int()
        planar = bits in (5, 6, 7) or fmt == "gptq_p"
        m = TorchLinear(bits=bits, group_size=group, sym=sym, desc_act=bool(says.get("desc_act")), in_features=k,
                        out_features=n, format="gptq_p" if planar else None)
        if planar:
            m.qweight, m.qzeros = planar_pack_rows(q, bits), planar_pack_cols(zero, bits)
            stored = m.qzeros.clone()
        else:
            m.qweight = pack_cols(q.t().contiguous(), bits, pack_dtype=torch.int32).t().contiguous()
            m.qzeros = pack_cols(zero.contiguous(), bits, pack_dtype=torch.int32)
            stored = pack_cols((zero - 1).contiguous(), bits, pack_dtype=torch.int32)  # every zero is 1 or more
        m.scales, m.g_idx = scale, g_idx
        out.update({f"{p}.qweight": m.qweight.clone(), f"{p}.qzeros": stored, f"{p}.scales": scale, f"{p}.g_idx": g_idx})
        m.post_init()
        decoded[key] = m.dequantize_weight().t().contiguous()
    config["quantization_config"] = {
        "quant_method": "gptq", "bits": 4, "group_size": 32, "sym": True, "desc_act": False, "lm_head": False,
        "checkpoint_format": fmt, "pack_dtype": "int32", "dynamic": {**dynamic, **kept}}
    finish(folder, config, out, decoded)


def awq(name, args, group, symmetric):
    """Packed as AutoAWQ's gemm, decoded by GPTQModel."""
    from gptqmodel.quantization.awq.utils.packing_utils import dequantize_gemm

    folder, config, tensors = base(name, *args)
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    out, decoded, kept = {}, {}, []

    def pack(x):  # [rows, n] -> [rows, n / 8]
        x = x.reshape(x.shape[0], -1, 8)[:, :, order].long()
        word = sum(x[:, :, i] << 4 * i for i in range(8))
        return torch.where(word >= 1 << 31, word - (1 << 32), word).int().contiguous()

    for key, w in tensors.items():
        p = key.removesuffix(".weight")
        if not LINEAR.search(key) or w.shape[1] % group or w.shape[0] % 8:
            out[key] = w
            if w.dim() == 2:
                kept.append(p)
            continue
        n, k = w.shape
        part = w.float().reshape(n, -1, group)
        lo, hi = part.amin(-1).clamp(max=0), part.amax(-1).clamp(min=0)
        scale = (part.abs().amax(-1) * 2 / 15 if symmetric else (hi - lo) / 15).half()
        zero = torch.full_like(lo, 8) if symmetric else (-lo / scale.float()).round().clamp(0, 15)
        q = (part / scale.float()[..., None] + zero[..., None]).round().clamp(0, 15)
        arrays = pack(q.reshape(n, k).t().int()), pack(zero.t().int()), scale.t().contiguous()
        decoded[key] = dequantize_gemm(*arrays, 4, group).t().contiguous()
        out.update(zip((f"{p}.qweight", f"{p}.qzeros", f"{p}.scales"), arrays))
    config["quantization_config"] = {
        "quant_method": "awq", "bits": 4, "group_size": group, "zero_point": not symmetric, "version": "gemm",
        "modules_to_not_convert": sorted(kept)}
    finish(folder, config, out, decoded)


if __name__ == "__main__":
    if OLD:
        compressed_tensors("ct-int3-loose", LITE + ["--seed", 21], [
            ("group_0", ct_scheme(["Linear"], "pack-quantized", num_bits=3, type="int", symmetric=False, strategy="group",
                                  group_size=16))], ["re:.*layers.0.mlp"], "pack-quantized", "0.15.0")
        sys.exit()
    compressed_tensors("ct-mixed", DSA + ["--seed", 22], [
        ("group_0", ct_scheme(["Linear"], "pack-quantized", num_bits=4, type="int", symmetric=False, strategy="group",
                              group_size=32)),
        ("a", ct_scheme([r"re:.*\.down_proj$"], "int-quantized", num_bits=8, type="int", strategy="channel")),
        ("b", ct_scheme([r"re:.*self_attn\.(q|kv)_", r"re:.*indexer\.w"], "float-quantized", num_bits=8, type="float",
                        strategy="channel")),
        ("c", ct_scheme(["model.layers.0.self_attn.o_proj"], "float-quantized", num_bits=8, type="float",
                        strategy="block", block_structure=[32, 32])),
        ("d", ct_scheme(["model.layers.1.self_attn.o_proj"], "pack-quantized", num_bits=8, type="int",
                        strategy="tensor")),
        ("e", ct_scheme([r"re:.*shared_experts\.up"], "naive-quantized", num_bits=6, type="int", strategy="group",
                        group_size=16)),
    ], [r"re:.*shared_experts\.gate", "re:lm_head"], "mixed-precision")
    gptq("gptq-mixed", LITE + ["--seed", 23], "gptq", {
        "-:.*shared_experts\\.gate": {},
        "+:.*shared_experts": {"bits": 8, "group_size": 64},
        "+:.*\\.down_proj": {"bits": 5, "sym": False},
        ".*experts\\.[01]\\.up": {"bits": 3, "group_size": -1},
        "+:.*o_proj": {"bits": 8, "group_size": 16, "sym": False, "desc_act": True},
        "+:.*experts\\.[1-3]\\.up": {"bits": 2, "group_size": 16},
    })
    gptq("gptq-planar", DSA + ["--seed", 24], "gptq_p", {
        "+:.*\\.gate_proj": {"bits": 3},
        "+:.*\\.up_proj": {"bits": 6, "sym": False},
        "+:.*\\.down_proj": {"bits": 7, "sym": False},
    })
    awq("awq-asym-g32", LITE + ["--seed", 25], 32, False)
    awq("awq-sym-g16", DSA + ["--seed", 26], 16, True)
