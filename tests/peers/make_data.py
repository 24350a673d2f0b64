#!/usr/bin/env python3
"""Makes tests/data/checkpoints: tiny checkpoints packed by the formats' own packages, each beside
the SHA-256 of what that package decodes (expected.json, as test_data.c reads it).

needs the packages of requirements.txt; usage: make_data.py MAKE_SAMPLE OUT
"""
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

import torch
from safetensors.torch import load_file, save_file

make_sample, OUT = sys.argv[1:3]
LINEAR = re.compile(r"(self_attn\.(?!indexer\.weights).*(_proj|wq_b|wk|_proj_with_mqa)|mlp\.(?!gate\.).*_proj)\.weight$")


def base(name, *args):
    """A BF16 model of its own shape and seed, as (config, tensors)."""
    folder = f"{OUT}/{name}"
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([make_sample, *map(str, args), folder], check=True)
    tensors = load_file(f"{folder}/model.safetensors")
    os.remove(f"{folder}/model.safetensors")
    for f in ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"):
        os.remove(f"{folder}/{f}")
    return folder, json.load(open(f"{folder}/config.json")), tensors


def finish(folder, config, tensors, decoded):
    save_file(tensors, f"{folder}/model.safetensors", metadata={"format": "pt"})
    json.dump(config, open(f"{folder}/config.json", "w"), indent=1)
    names = {torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32"}
    out = {}
    for key in sorted(decoded):
        t = decoded[key].contiguous()
        out[key] = {"dtype": names[t.dtype], "shape": list(t.shape),
                    "sha256": hashlib.sha256(t.view(torch.uint8).numpy().tobytes()).hexdigest()}
    json.dump({"tensors": out}, open(f"{folder}/expected.json", "w"), indent=0)


def compressed_tensors(name, args, bits, group, symmetric, scale_dtype=torch.bfloat16):
    from compressed_tensors.compressors.base import BaseCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationConfig, QuantizationScheme
    from compressed_tensors.quantization.utils import calculate_qparams

    folder, config, tensors = base(name, *args)
    weights = QuantizationArgs(num_bits=bits, type="int", symmetric=symmetric,
                               strategy="group" if group else "channel", group_size=group or None)
    scheme = QuantizationScheme(targets=["Linear"], weights=weights, format="pack-quantized")
    comp = BaseCompressor.get_value_from_registry("pack-quantized")
    out, decoded, kept = {}, {}, []
    for key, w in tensors.items():
        if not LINEAR.search(key) or (group and w.shape[1] % group):
            out[key] = w
            if w.dim() == 2:
                kept.append(key.removesuffix(".weight"))
            continue
        p = key[: -len("weight")]
        g = w.reshape(w.shape[0], -1, group or w.shape[1])
        scale, zero = calculate_qparams(g.amin(-1), g.amax(-1), weights)
        state = {"weight": w, "weight_scale": scale.to(scale_dtype)}
        if not symmetric:
            state["weight_zero_point"] = zero
        packed = comp.compress(state, scheme)
        decoded[key] = comp.decompress(packed, scheme)["weight"]
        out.update({p + k: v.contiguous() for k, v in packed.items()})
    qc = QuantizationConfig(config_groups={"group_0": scheme}, format="pack-quantized", ignore=sorted(kept),
                            quantization_status="compressed")
    config["quantization_config"] = json.loads(qc.model_dump_json())
    finish(folder, config, out, decoded)


def gptq(name, args, bits, group, symmetric, act_order, fmt):
    from gptqmodel.nn_modules.qlinear.torch import TorchLinear
    from gptqmodel.utils.model_dequant import pack_cols

    folder, config, tensors = base(name, *args)
    rng = torch.Generator().manual_seed(bits * group)
    out, decoded, kept = {}, {}, []
    for key, w in tensors.items():
        if not LINEAR.search(key) or w.shape[1] % group or w.shape[0] % 32:
            out[key] = w
            if w.dim() == 2:
                kept.append(key.removesuffix(".weight"))
            continue
        p, (n, k) = key[: -len("weight")], w.shape
        g_idx = torch.arange(k, dtype=torch.int32) // group
        if act_order:
            g_idx = g_idx[torch.randperm(k, generator=rng)].contiguous()
        top = (1 << bits) - 1
        w32, scale, zero = w.float(), torch.empty(k // group, n), torch.empty(k // group, n, dtype=torch.int32)
        for i in range(k // group):
            part = w32[:, g_idx == i]
            if symmetric:
                s, z = part.abs().amax(1) * 2 / top, torch.full((n,), 1 << (bits - 1))
            else:
                lo, hi = part.amin(1).clamp(max=0), part.amax(1).clamp(min=0)
                s = (hi - lo) / top
                z = (-lo / s).round().clamp(1, top)
            scale[i], zero[i] = s, z.int()
        scale = scale.half()
        q = (w32.t() / scale.float()[g_idx.long()] + zero[g_idx.long()]).round().clamp(0, top).int()
        m = TorchLinear(bits=bits, group_size=group, sym=symmetric, desc_act=act_order, in_features=k, out_features=n)
        m.qweight = pack_cols(q.t().contiguous(), bits, pack_dtype=torch.int32).t().contiguous()
        m.qzeros = pack_cols(zero.contiguous(), bits, pack_dtype=torch.int32)
        m.scales, m.g_idx = scale, g_idx
        stored_zeros = m.qzeros.clone()
        if fmt == "gptq":  # v1 subtracts on the word
            ones = sum(1 << i for i in range(0, 32, bits))
            word = (m.qzeros.long() - ones) & 0xFFFFFFFF
            stored_zeros = torch.where(word >= 1 << 31, word - (1 << 32), word).int()
        out.update({p + "qweight": m.qweight, p + "qzeros": stored_zeros, p + "scales": scale, p + "g_idx": g_idx})
        m.post_init()
        decoded[key] = m.dequantize_weight().t().contiguous()
    config["quantization_config"] = {
        "quant_method": "gptq", "bits": bits, "group_size": group, "sym": symmetric, "desc_act": act_order, "lm_head": False,
        "checkpoint_format": fmt, "pack_dtype": "int32", "dynamic": {"-:" + re.escape(k) + "$": {} for k in kept}}
    finish(folder, config, out, decoded)


if __name__ == "__main__":
    os.makedirs(OUT, exist_ok=True)
    dsa = ["--arch", "glm_moe_dsa", "--hidden", 96, "--layers", 3, "--experts", 3, "--moe", 32, "--dense", 64, "--vocab", 352]
    lite = ["--arch", "glm4_moe_lite", "--hidden", 64, "--layers", 2, "--experts", 5, "--moe", 64, "--dense", 96, "--mtp", 0]
    moe = ["--hidden", 64, "--layers", 2, "--experts", 4, "--moe", 64, "--dense", 128, "--heads", 2, "--kv-heads", 1]
    compressed_tensors("ct-int4-asym-g32", dsa + ["--seed", 11], 4, 32, False)
    compressed_tensors("ct-int8-channel", lite + ["--seed", 12], 8, 0, True, torch.float16)
    compressed_tensors("ct-int4-g16", moe + ["--seed", 13], 4, 16, True)
    gptq("gptq-4-actorder-v1", moe + ["--seed", 14], 4, 32, True, True, "gptq")
    gptq("gptq-4-asym-v1", lite + ["--seed", 15], 4, 32, False, False, "gptq")
    gptq("gptq-8-v2", dsa + ["--seed", 16], 8, 32, True, False, "gptq_v2")
    gptq("gptq-2-asym-v2", moe + ["--seed", 17], 2, 32, False, False, "gptq_v2")
