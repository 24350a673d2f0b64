#!/usr/bin/env python3
"""Makes the TQ3 checkpoints of tests/data/checkpoints with the format's own writer, each beside the
SHA-256 of what its package decodes on the CPU in F32 (expected.json, as test_data.c reads it), and
tests/vectors/tq3.json.

needs turboquant-plus-vllm 0.13.12, scipy, torch, transformers; usage: make_tq3.py MAKE_SAMPLE TESTS
"""
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file
from turboquant_vllm.checkpoint import save_tq3_checkpoint
from turboquant_vllm.torch_ops import PolarQuantTorch
from turboquant_vllm.weight_quant import pack_indices, select_bits, unpack_indices

make_sample, TESTS = sys.argv[1:3]
KEPT = {"config.json", "tq_config.json"}


# ---- checkpoints ----

def fuse(tensors):
    """Experts as current transformers save them: one 3-D array for gate and up, one for down."""
    out, of = {}, {}
    for key, w in tensors.items():
        if ".experts." not in key or "shared" in key:
            out[key] = w
            continue
        parent, rest = key.split(".experts.")
        expert, kind = rest.removesuffix("_proj.weight").split(".")
        of.setdefault(parent + ".experts", {})[int(expert), kind] = w
    for parent, parts in of.items():
        n = 1 + max(e for e, _ in parts)
        out[parent + ".gate_up_proj"] = torch.stack([torch.cat([parts[e, "gate"], parts[e, "up"]]) for e in range(n)])
        out[parent + ".down_proj"] = torch.stack([parts[e, "down"] for e in range(n)])
    return out


def decode(packed, norms, cols, bits, group, seed=42):
    rows, groups = norms.shape
    quantizer = PolarQuantTorch(group, bits, seed=seed, device="cpu")
    index = unpack_indices(packed.reshape(rows * groups, -1), bits, group)
    return quantizer.dequantize(index, norms.reshape(-1)).reshape(rows, groups * group)[:, :cols].contiguous()


def decoded_checkpoint(folder, shapes):
    """{published name: F32 weights} of every packed tensor; fused experts taken apart."""
    config, tensors, out = json.load(open(f"{folder}/tq_config.json")), {}, {}
    for name in os.listdir(folder):
        if name.endswith(".safetensors"):
            tensors.update(load_file(f"{folder}/{name}"))
    for key in [k for k in tensors if k.endswith(".tq_packed")]:
        base = key.removesuffix(".tq_packed")
        bits = select_bits(base, config["bits"], config.get("sensitive_bits"))
        w = decode(tensors[key], tensors[base + ".tq_norms"], shapes[base][-1], bits, config["group_size"])
        if len(shapes[base]) == 2:
            out[base] = w
            continue
        w, parent = w.reshape(shapes[base]), base.rsplit(".", 1)[0]
        for e in range(w.shape[0]):
            if base.endswith("down_proj"):
                out[f"{parent}.{e}.down_proj.weight"] = w[e]
                continue
            gate, up = w[e].chunk(2)
            out[f"{parent}.{e}.gate_proj.weight"], out[f"{parent}.{e}.up_proj.weight"] = gate, up
    return out


def checkpoint(name, args, fused=False, **options):
    folder = f"{TESTS}/data/checkpoints/{name}"
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as tmp:
        os.chdir(tmp)
        subprocess.run([make_sample, *map(str, args), "source"], check=True)
        source = load_file("source/model.safetensors")
        if fused:
            source = fuse(source)
            save_file(source, "source/model.safetensors", metadata={"format": "pt"})
        save_tq3_checkpoint("source", folder, **options)
    for f in os.listdir(folder):
        if f not in KEPT and ".safetensors" not in f:
            os.remove(f"{folder}/{f}")
        else:
            os.chmod(f"{folder}/{f}", 0o644)
    weights = decoded_checkpoint(folder, {k: w.shape for k, w in source.items()})
    expected = {k: {"dtype": "F32", "shape": list(w.shape),
                    "sha256": hashlib.sha256(w.contiguous().numpy().tobytes()).hexdigest()}
                for k, w in sorted(weights.items())}
    json.dump({"tensors": expected}, open(f"{folder}/expected.json", "w"), indent=0)


# ---- vectors ----

SCALES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
BYTES, BY_ROW = 1, 2


def case(name, index, norms, cols, bits, group, seed=42, variant=0):
    rows, groups = norms.shape
    packed = index.to(torch.uint8) if variant & BYTES else pack_indices(index, bits)
    quantizer = PolarQuantTorch(group, bits, seed=seed, device="cpu")
    w = quantizer.dequantize(index, norms.float().reshape(-1)).reshape(rows, groups * group)[:, :cols].contiguous()
    return {"name": name, "rows": rows, "cols": cols,
            "encoding": {"codec": "tq3", "bits": bits, "group": group, "zeros": "mid", "seed": seed,
                         "scale": SCALES[norms.dtype], "variant": variant},
            "slots": {"codes": packed.numpy().tobytes().hex(),
                      "scales": norms.contiguous().view(torch.uint8).numpy().tobytes().hex()},
            "values": w.numpy().tobytes().hex()}


def encoded(name, x, bits, group, seed=42):
    """A case with the weights that gave its codes."""
    rows, cols = x.shape
    groups = -(-cols // group)
    padded = torch.nn.functional.pad(x, (0, groups * group - cols)).reshape(-1, group)
    quantizer = PolarQuantTorch(group, bits, seed=seed, device="cpu")
    index, norms = quantizer.quantize(padded, norm_correction=True)
    out = case(name, index, norms.reshape(rows, groups), cols, bits, group, seed)
    out["input"] = x.contiguous().numpy().tobytes().hex()
    return out


def vectors():
    rng = torch.Generator().manual_seed(3)

    def random(rows, groups, bits, group):
        return (torch.randint(0, 1 << bits, (rows * groups, group), generator=rng),
                torch.rand((rows, groups), generator=rng) + 0.01)

    out = []
    for bits, group, seed in [(2, 8, 42), (3, 8, 42), (4, 8, 0), (3, 16, 42), (4, 32, 7), (2, 64, 42), (3, 64, 42),
                              (4, 64, 42), (2, 128, 42), (3, 128, 42), (4, 128, 2**31), (3, 256, 42), (4, 512, 42),
                              (3, 1024, 1)]:
        index, norms = random(2, 1 if group > 200 else 2, bits, group)
        out.append(case(f"{bits} bits, groups of {group}, seed {seed}", index, norms, norms.shape[1] * group, bits,
                        group, seed))
    index, norms = random(3, 2, 3, 64)
    out.append(case("the last group is cut", index, norms, 65, 3, 64))
    index, norms = random(2, 1, 4, 128)
    out.append(case("less than one group", index, norms, 20, 4, 128))
    index, norms = random(2, 2, 3, 32)
    out.append(case("codes by row", index, norms, 50, 3, 32, variant=BY_ROW))
    for bits in (1, 3, 5, 8):
        index, norms = random(2, 1, bits, 32)
        out.append(case(f"{bits} bits in bytes", index, norms, 32, bits, 32, variant=BYTES))
    index, norms = random(2, 2, 3, 16)
    out.append(case("half norms", index, norms.half(), 32, 3, 16))
    index, norms = random(2, 2, 3, 16)
    out.append(case("bfloat16 norms", index, norms.bfloat16(), 32, 3, 16))
    index, _ = random(4, 2, 3, 64)
    norms = torch.tensor([[0.0, -0.0], [1e-45, 1e-40], [-1.5, 3e38], [2.0 ** -126, 1.0]])
    out.append(case("norms of zero, subnormal, negative, huge", index, norms, 128, 3, 64))
    index = torch.tensor([[7] * 128, [0] * 128, [3, 4] * 64, [0, 1, 2, 3, 4, 5, 6, 7] * 16])
    out.append(case("sums that cancel", index, torch.ones(4, 1), 128, 3, 128))
    k = torch.arange(400, dtype=torch.float32)
    out.append(encoded("encoded, 2 bits", (37 * k[:256] % 128 - 64).reshape(2, 128) / 64, 2, 128))
    out.append(encoded("encoded, padded", ((29 * k) % 101 - 50).reshape(2, 200) / 100, 3, 128))
    x = torch.randn((4, 64), generator=rng) * 0.02
    x[1], x[2, ::3], x[3] = 0, -0.0, 1e-30
    out.append(encoded("encoded, zeros", x, 4, 64, 5))
    out.append(encoded("encoded, tiny groups", torch.randn((3, 20), generator=rng), 3, 8))
    return out


os.makedirs(f"{TESTS}/data/checkpoints", exist_ok=True)
TESTS, make_sample = os.path.abspath(TESTS), os.path.abspath(make_sample)
lite = ["--arch", "glm4_moe_lite", "--hidden", 128, "--layers", 2, "--experts", 3, "--moe", 64, "--dense", 160, "--vocab", 352,
        "--mtp", 0, "--seed", 21]
dsa = ["--arch", "glm_moe_dsa", "--hidden", 128, "--layers", 2, "--experts", 3, "--moe", 96, "--dense", 64, "--vocab", 352,
       "--seed", 22]
checkpoint("tq3-g64-mixed", lite, bits=3, group_size=64, sensitive_bits=4, max_shard_bytes=150000)
checkpoint("tq3-fused", dsa, fused=True, bits=3, group_size=128)
about = "Groups as turboquant-plus-vllm 0.13.12 decodes them on the CPU; slots and values are bytes in hex"
with open(f"{TESTS}/vectors/tq3.json", "w") as f:
    cases = ",\n".join(json.dumps(c, separators=(",", ":")) for c in vectors())
    f.write(f'{{"about":"{about}",\n"cases":[\n{cases}\n]}}\n')
