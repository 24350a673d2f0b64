#!/usr/bin/env python3
"""Four-bit floats (and ModelOpt's FP8) as ModelOpt's and compressed-tensors' own code packs and decodes them:
tiny checkpoints like those of make_data.py, and the vectors of tests/vectors/{nvfp4,mxfp4}.json.

needs the packages of requirements.txt; usage: make_fp4.py MAKE_SAMPLE OUT VECTORS
"""
import json
import sys

import torch
from compressed_tensors.compressors.base import BaseCompressor
from compressed_tensors.quantization import QuantizationConfig, QuantizationScheme
from compressed_tensors.quantization.quant_scheme import MXFP4, NVFP4, NVFP4A16
from compressed_tensors.quantization.utils import calculate_qparams, generate_gparam
from modelopt.torch.quantization.qtensor import FP8QTensor, MXFP4QTensor, MXFP8QTensor, NVFP4QTensor
from safetensors.torch import save_file

VECTORS = sys.argv.pop(3)
import make_data  # noqa: E402
from make_data import LINEAR, finish  # noqa: E402

# ---- what each tool stores of a matrix, and what it reads out of that ----


def modelopt_nvfp4(w, amax=None):
    ws2 = NVFP4QTensor.get_weights_scaling_factor_2(w) if amax is None else amax.float() / 2688
    ws, _ = NVFP4QTensor.get_weights_scaling_factor(w, 16, ws2)
    q, _, _ = NVFP4QTensor.quantize(w, 16, ws, ws2)
    return {"weight": q._quantized_data, "weight_scale": ws, "weight_scale_2": ws2}


def modelopt_nvfp4_decode(s, shape):
    q = NVFP4QTensor(torch.Size(shape), torch.float32, s["weight"])
    return q.dequantize(dtype=torch.float32, scale=s["weight_scale"], double_scale=s["weight_scale_2"], block_sizes={-1: 16})


def modelopt_mxfp4(w):
    q, s = MXFP4QTensor.quantize(w.clone(), 32)
    s = s.reshape(w.shape[0], -1)
    return {"weight": q._quantized_data, "weight_scale": s}, q.dequantize(dtype=torch.float32, scale=s, block_sizes={-1: 32})


def ct_scheme(name, preset):
    return QuantizationScheme(targets=["Linear"], format=name, **preset), BaseCompressor.get_value_from_registry(name)


def ct_nvfp4(w, lo=None, hi=None):
    scheme, comp = ct_scheme("nvfp4-pack-quantized", NVFP4)
    gs = generate_gparam((w.amin() if lo is None else lo).reshape(1), (w.amax() if hi is None else hi).reshape(1))
    b = w.unflatten(-1, (-1, 16))
    s, _ = calculate_qparams(b.amin(-1), b.amax(-1), scheme.weights, gs)
    return comp.compress({"weight": w, "weight_scale": s, "weight_global_scale": gs}, scheme)


def ct_mxfp4(w):
    scheme, comp = ct_scheme("mxfp4-pack-quantized", MXFP4)
    b = w.unflatten(-1, (-1, 32))
    s, _ = calculate_qparams(b.amin(-1), b.amax(-1), scheme.weights)
    return comp.compress({"weight": w, "weight_scale": s}, scheme)


def ct_decode(name, preset, state):
    scheme, comp = ct_scheme(name, preset)
    return comp.decompress(dict(state), scheme)["weight"]


# ---- checkpoints ----

def base(name, *args):
    """As make_data's, with a small vocabulary: it is not what these are about."""
    folder, config, tensors = make_data.base(name, *args)
    for key in tensors:
        if tensors[key].dim() == 2 and tensors[key].shape[0] == config["vocab_size"]:
            tensors[key] = tensors[key][:16].clone()
    config["vocab_size"] = 16
    return folder, config, tensors


def linears(tensors, k):
    return [key for key in tensors if LINEAR.search(key) and tensors[key].shape[1] % k == 0]


def group_amax(key, tensors):
    """Modules that read one input have one amax (the groups of the weights here)."""
    p, leaf = key.removesuffix(".weight").rsplit(".", 1)
    for group in (("gate_proj", "up_proj"), ("q_proj", "k_proj", "v_proj"), ("q_a_proj", "kv_a_proj_with_mqa")):
        if leaf in group:
            return max(tensors[f"{p}.{x}.weight"].abs().max() for x in group if f"{p}.{x}.weight" in tensors)
    return tensors[key].abs().max()


def modelopt_config(folder, config, algo, ignore, layers=None, group=16, kv=None):
    q = {"quant_algo": algo, "kv_cache_quant_algo": kv, "group_size": group}
    q |= {"quantized_layers": layers} if layers else {"exclude_modules": ignore}
    json.dump({"producer": {"name": "modelopt", "version": "0.47.0"}, "quantization": q},
              open(f"{folder}/hf_quant_config.json", "w"), indent=4)
    config["quantization_config"] = {"config_groups": {}, "ignore": [] if layers else ignore, "quant_algo": algo,
                                     "producer": {"name": "modelopt", "version": "0.47.0"}, "quant_method": "modelopt"}
    if layers:
        config["quantization_config"]["quantized_layers"] = layers


def kept_modules(tensors, quantized):
    return sorted(k.removesuffix(".weight") for k, t in tensors.items() if t.dim() == 2 and k not in quantized)


def checkpoint_modelopt(name, args, scales):
    folder, config, tensors = base(name, *args)
    mtp = f"model.layers.{config['num_hidden_layers']}."
    names = [k for k in linears(tensors, 16) if not k.startswith(mtp)]
    out, decoded, last = {k: t for k, t in tensors.items() if k not in names}, {}, {}
    for i, key in enumerate(names):
        s = modelopt_nvfp4(tensors[key], group_amax(key, tensors))
        decoded[key] = modelopt_nvfp4_decode(s, tensors[key].shape)
        if scales:
            s["input_scale"] = torch.tensor((1.5 + i / 7) / 2688)
        p = key[: -len("weight")]
        out |= {p + k: t.contiguous() for k, t in s.items()}
    if scales:
        for layer in range(config["num_hidden_layers"]):
            for x in "kv":
                out[f"model.layers.{layer}.self_attn.{x}_proj.{x}_scale"] = torch.tensor(0.03 + layer)
    last = {k: out.pop(k) for k in list(out) if k.startswith(mtp)}
    if last:  # as ModelOpt's export leaves it: beside the others, in no index
        save_file(last, f"{folder}/mtp.safetensors", metadata={"format": "pt"})
    ignore = [m for m in kept_modules(tensors, names) if not m.startswith(mtp)] + [mtp.rstrip(".") + "*"]
    modelopt_config(folder, config, "NVFP4" if scales else "W4A16_NVFP4", ignore, kv="FP8" if scales else None)
    finish(folder, config, out, decoded)


def checkpoint_mixed(name, args):
    folder, config, tensors = base(name, *args)
    out, decoded, layers = dict(tensors), {}, {}
    for key in linears(tensors, 32):
        w, m = tensors[key], key.removesuffix(".weight")
        if "experts" in key and "shared" not in key:
            s, algo = modelopt_nvfp4(w, group_amax(key, tensors)), "NVFP4"
            decoded[key] = modelopt_nvfp4_decode(s, w.shape)
        elif "o_proj" in key:
            s, decoded[key] = modelopt_mxfp4(w)
            algo = "W4A8_MXFP4_FP8"
        elif "mlp" in key:
            q, e = MXFP8QTensor.quantize(w.clone())
            s, algo = {"weight": q._quantized_data, "weight_scale": e.reshape(w.shape[0], -1)}, "MXFP8"
            decoded[key] = q.dequantize(dtype=torch.float32, scale=s["weight_scale"])
        elif "v_proj" in key:
            e = (w.float().abs().amax(1) / 448).reshape(-1)
            c = (w.float() / e[:, None]).to(torch.float8_e4m3fn)
            s, algo = {"weight": c, "weight_scale": e}, "FP8_PER_CHANNEL_PER_TOKEN"
            decoded[key] = c.float() * e[:, None]
        else:
            q, e = FP8QTensor.quantize(w.clone())
            s, algo = {"weight": q._quantized_data, "weight_scale": e.float().reshape(()), "input_scale": torch.tensor(0.01)}, "FP8"
            decoded[key] = q._quantized_data.float() * s["weight_scale"]
        layers[m] = {"quant_algo": algo}
        out |= {f"{m}.{k}": t.contiguous() for k, t in s.items()}
    modelopt_config(folder, config, "MIXED_PRECISION", [], layers)
    finish(folder, config, out, decoded)


def checkpoint_ct(name, args, kind):
    folder, config, tensors = base(name, *args)
    nv = kind != "mxfp4"
    fmt, preset = ("nvfp4-pack-quantized", NVFP4 if kind == "nvfp4" else NVFP4A16) if nv else ("mxfp4-pack-quantized", MXFP4)
    names = linears(tensors, 16 if nv else 32)
    out, decoded = {k: t for k, t in tensors.items() if k not in names}, {}
    for i, key in enumerate(names):
        amax = group_amax(key, tensors)
        s = ct_nvfp4(tensors[key], -amax, amax) if nv else ct_mxfp4(tensors[key])
        decoded[key] = ct_decode(fmt, preset, s)
        if kind == "nvfp4":
            s["input_global_scale"] = generate_gparam(torch.tensor([-1.0 - i], dtype=torch.bfloat16), torch.tensor([1.0], dtype=torch.bfloat16))
        out |= {key[: -len("weight")] + k: t.contiguous() for k, t in s.items()}
    scheme, _ = ct_scheme(fmt, preset)
    qc = QuantizationConfig(config_groups={"group_0": scheme}, format=fmt, ignore=kept_modules(tensors, names),
                            quantization_status="compressed")
    config["quantization_config"] = json.loads(qc.model_dump_json())
    finish(folder, config, out, decoded)


def checkpoint_gptoss(name, args):
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    folder, config, tensors = base(name, *args)
    out, decoded = dict(tensors), {}
    experts = config["n_routed_experts"]
    for layer in range(config["num_hidden_layers"]):
        p = f"model.layers.{layer}.mlp.experts."
        if f"{p}0.down_proj.weight" not in tensors:
            continue
        for stack, leaves in (("gate_up_proj", ("gate_proj", "up_proj")), ("down_proj", ("down_proj",))):
            states = [ct_mxfp4(torch.cat([out.pop(f"{p}{e}.{x}.weight") for x in leaves])) for e in range(experts)]
            rows = states[0]["weight_packed"].shape[0]
            blocks = torch.stack([s["weight_packed"].reshape(rows, -1, 16) for s in states])
            scales = torch.stack([s["weight_scale"] for s in states])
            out |= {p + stack + "_blocks": blocks, p + stack + "_scales": scales}
            values = convert_moe_packed_tensors(blocks, scales).transpose(1, 2).contiguous()
            for e in range(experts):
                for x, part in zip(leaves, values[e].chunk(len(leaves))):
                    decoded[f"{p}{e}.{x}.weight"] = part
    config["quantization_config"] = {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn", "lm_head"]}
    finish(folder, config, out, decoded)


# ---- vectors ----

def hexed(t):
    return t.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes().hex()


def case(name, encoding, shape, slots, values=None, rounded=None, w=None):
    c = {"name": name, "encoding": encoding, "rows": shape[0], "cols": shape[1],
         "slots": {k: hexed(t) for k, t in slots.items()}}
    if values is not None:
        c["values"] = hexed(values.float())
    if rounded is not None:
        c["rounded"] = {"dtype": "BF16", "bits": hexed(rounded)}
    if w is not None:
        c["input"], c["bf16"] = hexed(w.float()), int(w.dtype == torch.bfloat16)
    return c


SLOTS = {"weight": "codes", "weight_packed": "codes", "weight_scale": "scales", "weight_scale_2": "global",
         "weight_global_scale": "global"}


def slots_of(state):
    return {SLOTS[k]: t for k, t in state.items() if k in SLOTS}


def halves(codes, group):
    """Codes, one a byte, as GGUF packs a group: its first half in the low nibbles."""
    q = codes.reshape(-1, group)
    return (q[:, : group // 2] | q[:, group // 2:] << 4).to(torch.uint8)


def codes_of(packed):
    return torch.stack([packed & 15, packed >> 4], -1).reshape(packed.shape[0], -1)


def awkward(dtype):
    g = torch.Generator().manual_seed(7)
    w = torch.randn(9, 64, generator=g) * 0.03
    w[0, :32] = 0.0
    w[1, 16:48] = -0.0
    ties = torch.tensor([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0, 6.0])
    w[2] = torch.cat([ties, -ties] * 4) * 2.0**-6
    w[3, 32:48] *= 2.0**-14
    w[4, 0:32] *= 2.0**-30
    w[5, 3] = 1.5
    w[6, 5] = -2.25
    w[7] = torch.linspace(-0.1, 0.1, 64)
    w[8, 16:] *= 2.0**-4
    return w.to(dtype)


def nvfp4_cases():
    mo, ct, gg = ({"codec": "fp4", "group": 16, "variant": v} for v in (0, 1, 0))
    every = torch.arange(127, dtype=torch.uint8)
    codes = torch.arange(16, dtype=torch.uint8).repeat(127).reshape(1, -1)
    packed = codes[:, 0::2] | codes[:, 1::2] << 4
    out = []
    for name, scalar in (("", 0.00123456), (", subnormal products", 2.0**-141)):
        s = {"weight": packed, "weight_scale": every.view(torch.float8_e4m3fn).reshape(1, -1), "weight_scale_2": torch.tensor(scalar)}
        v = modelopt_nvfp4_decode(s, (1, 2032))
        out.append(case("ModelOpt: every scale" + name, mo, (1, 2032), slots_of(s), v))
        d = torch.cat([every, torch.tensor([0], dtype=torch.uint8)]).reshape(32, 4)
        q = halves(torch.cat([codes[0], torch.zeros(16, dtype=torch.uint8)]), 16).reshape(32, 32)
        blocks = torch.cat([d, q], 1)
        v = torch.cat([v, torch.zeros(1, 16)], 1)
        out.append(case("GGUF: every scale" + name, {"codec": "nvfp4"}, (1, 2048), {"codes": blocks, "global": torch.tensor(scalar)}, v))
    for name, scalar in (("", 58112.0), (", odd", 1234.567)):
        s = {"weight_packed": packed, "weight_scale": every.view(torch.float8_e4m3fn).reshape(1, -1), "weight_global_scale": torch.tensor([scalar])}
        out.append(case("compressed-tensors: every scale" + name, ct, (1, 2032), slots_of(s), rounded=ct_decode("nvfp4-pack-quantized", NVFP4, s)))
    for dtype in (torch.bfloat16, torch.float32):
        w = awkward(dtype)
        s = modelopt_nvfp4(w)
        out.append(case(f"ModelOpt encodes {dtype}", mo, w.shape, slots_of(s), modelopt_nvfp4_decode(s, w.shape), w=w))
        s = ct_nvfp4(w)
        rounded = ct_decode("nvfp4-pack-quantized", NVFP4, s) if dtype == torch.bfloat16 else None
        out.append(case(f"compressed-tensors encodes {dtype}", ct, w.shape, slots_of(s), rounded=rounded, w=w))
    tiny = torch.zeros(1, 48)
    tiny[0, 0], tiny[0, 16], tiny[0, 17] = 100, 1e-6, -2e-5
    s = modelopt_nvfp4(tiny)
    out.append(case("ModelOpt encodes a tiny block", mo, (1, 48), slots_of(s), modelopt_nvfp4_decode(s, (1, 48)), w=tiny))
    return out


def mxfp4_cases():
    mo, ct, inv = ({"codec": "fp4", "group": 32, "variant": v} for v in (0, 1, 2))
    out = []
    # E4M3 products of 2^127 overflow: exponents that does not
    e = torch.tensor([*range(5), *range(20, 250, 13), 250, 251, 252], dtype=torch.uint8)
    n = len(e)
    codes = torch.arange(16, dtype=torch.uint8).repeat(2 * n).reshape(1, -1)
    packed = codes[:, 0::2] | codes[:, 1::2] << 4
    values = MXFP4QTensor(torch.Size((1, n * 32)), torch.float32, packed).dequantize(dtype=torch.float32, scale=e.reshape(1, -1), block_sizes={-1: 32})
    exact = torch.tensor([0, .5, 1, 1.5, 2, 3, 4, 6, -0., -.5, -1, -1.5, -2, -3, -4, -6], dtype=torch.float64)[codes.long()]
    exact = (exact.reshape(n, 32) * 2.0 ** (e.double()[:, None] - 127)).float().reshape(1, -1)  # all of them are floats
    assert (values[:, 32:] == exact[:, 32:]).all()  # ModelOpt's ldexp flushes 2^-127
    s = {"codes": packed, "scales": e}
    out.append(case("exponents, -0", ct, (1, n * 32), s, exact))
    out.append(case("exponents, -0, codes in I8", inv, (1, n * 32), s, exact))
    out.append(case("exponents, -0, ModelOpt", mo, (1, n * 32), s, exact))
    blocks = torch.cat([e[:, None], halves(codes, 32)], 1)
    out.append(case("GGUF: exponents", {"codec": "mxfp4"}, (1, n * 32), {"codes": blocks}, exact + 0.0))
    for dtype in (torch.bfloat16, torch.float32):
        w = awkward(dtype)
        s = ct_mxfp4(w)
        rounded = ct_decode("mxfp4-pack-quantized", MXFP4, s) if dtype == torch.bfloat16 else None
        out.append(case(f"compressed-tensors encodes {dtype}", ct, w.shape, slots_of(s), rounded=rounded, w=w))
    s, v = modelopt_mxfp4(awkward(torch.bfloat16))
    out.append(case("ModelOpt's own: zero is stored as 8, -0", mo, (9, 64), slots_of(s), v))
    return out


def write_vectors(name, about, cases):
    with open(f"{VECTORS}/{name}.json", "w") as f:
        f.write(json.dumps({"about": about})[:-1] + ',\n"cases":[\n' + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]}\n")


if __name__ == "__main__":
    write_vectors("nvfp4", "NVFP4 as nvidia-modelopt 0.47.0 and compressed-tensors pack and decode it; slots and values are bytes in hex", nvfp4_cases())
    write_vectors("mxfp4", "MXFP4 as nvidia-modelopt 0.47.0 and compressed-tensors pack and decode it; slots and values are bytes in hex", mxfp4_cases())
    dsa = ["--arch", "glm_moe_dsa", "--hidden", 96, "--layers", 3, "--experts", 3, "--moe", 32, "--dense", 64, "--vocab", 336]
    lite = ["--arch", "glm4_moe_lite", "--hidden", 64, "--layers", 2, "--experts", 5, "--moe", 64, "--dense", 96, "--mtp", 0, "--vocab", 336]
    moe = ["--hidden", 64, "--layers", 2, "--experts", 4, "--moe", 64, "--dense", 128, "--heads", 2, "--kv-heads", 1, "--vocab", 336]
    checkpoint_modelopt("modelopt-nvfp4", dsa + ["--seed", 21], 1)
    checkpoint_modelopt("modelopt-w4a16", moe + ["--seed", 22], 0)
    checkpoint_mixed("modelopt-mixed", moe + ["--seed", 23, "--mtp", 0])
    checkpoint_ct("ct-nvfp4", moe + ["--seed", 24, "--mtp", 0], "nvfp4")
    checkpoint_ct("ct-nvfp4a16", lite + ["--seed", 25], "nvfp4a16")
    checkpoint_ct("ct-mxfp4", moe + ["--seed", 26, "--mtp", 0], "mxfp4")
    checkpoint_gptoss("gptoss-mxfp4", moe + ["--seed", 27, "--mtp", 0])
