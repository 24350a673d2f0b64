#!/usr/bin/env python3
"""Makes tests/digests: for every fixture checkpoint the XXH3-128 of each logical tensor's canonical F32
values (-0 as +0, every NaN as 7fc00000) and of the model, as `glmq-inspect --digest` prints them.

Nothing of glmq takes part: every format is decoded here with numpy (GGUF blocks with the gguf package),
and a decoded tensor is taken only when its SHA-256 is the one that the format's own tool left in
expected.json.  What has no hash there is stored in plain floats and only widened.

pip packages: numpy, xxhash, gguf; usage: make_digests.py FIXTURES OUT [NAME...]
"""
import hashlib
import json
import os
import re
import sys

import numpy as np
import xxhash

DTYPES = {"U8": "<u1", "I8": "<i1", "I16": "<i2", "I32": "<i4", "I64": "<i8", "F16": "<f2", "BF16": "<u2",
          "F32": "<f4", "F8_E4M3": "<u1", "F8_E8M0": "<u1"}
E2M1 = np.array([0, .5, 1, 1.5, 2, 3, 4, 6, -0., -.5, -1, -1.5, -2, -3, -4, -6], np.float32)
e = np.arange(256)
E4M3 = np.where(e & 0x78, (8 + (e & 7)) * 2.0 ** ((e >> 3 & 15) - 10), (e & 7) * 2.0 ** -9) * np.where(e & 128, -1, 1)
E4M3 = np.where((e & 127) == 127, np.nan, E4M3).astype(np.float32)
E8M0 = np.where(e == 255, np.nan, 2.0 ** (e - 127.0)).astype(np.float32)


def read_safetensors(path):
    data = open(path, "rb").read()
    n = int.from_bytes(data[:8], "little")
    out = {}
    for name, t in json.loads(data[8:8 + n]).items():
        if name == "__metadata__":
            continue
        begin, end = t["data_offsets"]
        out[name] = (t["dtype"], np.frombuffer(data[8 + n + begin:8 + n + end], DTYPES[t["dtype"]]).reshape(t["shape"]))
    return out


def widen(t):
    """Stored floats as F32."""
    dtype, a = t
    if dtype == "BF16":
        return (a.astype(np.uint32) << 16).view(np.float32)
    return {"F8_E4M3": E4M3, "F8_E8M0": E8M0}[dtype][a] if dtype.startswith("F8") else a.astype(np.float32)


def fields(words, bits, count):
    """Little-endian bit streams along the last axis: `count` fields of `bits` bits."""
    stream = np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=-1, bitorder="little")
    stream = stream[..., :count * bits].reshape(words.shape[:-1] + (count, bits))
    return (stream.astype(np.int64) << np.arange(bits)).sum(-1)


# ---- one decoder a format: (arrays, module, config) -> [rows, columns] in F32 ----

def compressed_tensors_int(T, P, q):
    bits = q["config_groups"]["group_0"]["weights"]["num_bits"]
    rows, cols = (int(v) for v in T[P + ".weight_shape"][1])
    codes = fields(T[P + ".weight_packed"][1], bits, cols)
    scale = np.repeat(widen(T[P + ".weight_scale"]), cols // T[P + ".weight_scale"][1].shape[1], 1)
    zero = 1 << (bits - 1)
    if P + ".weight_zero_point" in T:  # packed along the rows
        z = fields(T[P + ".weight_zero_point"][1].T, bits, rows).T
        zero = np.repeat(z, cols // z.shape[1], 1)
    return (codes - zero).astype(np.float32) * scale


def compressed_tensors_nvfp4(T, P, q):
    s = widen(T[P + ".weight_scale"]) / T[P + ".weight_global_scale"][1]
    return E2M1[fields(T[P + ".weight_packed"][1], 4, s.shape[1] * 16)] * np.repeat(s, 16, 1)


def modelopt_nvfp4(T, P, q):
    s = widen(T[P + ".weight_scale"]) * T[P + ".weight_scale_2"][1]
    return np.repeat(s, 16, 1) * E2M1[fields(T[P + ".weight"][1], 4, s.shape[1] * 16)] + np.float32(0)


def fp8_blocks(T, P, q):
    w = widen(T[P + ".weight"])
    s = np.repeat(np.repeat(widen(T[P + ".weight_scale_inv"]), 128, 0), 128, 1)
    return w * s[:w.shape[0], :w.shape[1]]


def gptq_v1(T, P, q):
    codes = fields(T[P + ".qweight"][1].T, 4, 8 * T[P + ".qweight"][1].shape[0]).T
    words, scale = T[P + ".qzeros"][1].view(np.uint32), widen(T[P + ".scales"])
    if "vq" in json.dumps(q.get("extra_config", {})):  # a field of its own, no carry
        zero = fields(words, 4, scale.shape[1]) + 1
    elif q["sym"] and np.all(words == 0x88888888):  # AutoRound's MTP
        zero = np.full(scale.shape, 8)
    else:
        zero = fields(words + np.uint32(0x11111111), 4, scale.shape[1])
    group = T[P + ".g_idx"][1] if P + ".g_idx" in T else np.arange(len(codes)) // -(-len(codes) // len(scale))
    return ((codes - zero[group]).astype(np.float32) * scale[group]).T


def awq_gemm(T, P, q):
    def columns(words):  # nibble i of a word is column order[i]
        order, n = np.array([0, 2, 4, 6, 1, 3, 5, 7]), words.shape[1]
        out = np.empty((words.shape[0], n, 8), np.int64)
        out[..., order] = fields(words, 4, 8 * n).reshape(-1, n, 8)
        return out.reshape(-1, 8 * n)
    codes, scale = columns(T[P + ".qweight"][1]), widen(T[P + ".scales"])
    group = np.arange(len(codes)) // (len(codes) // len(scale))
    return ((codes - columns(T[P + ".qzeros"][1])[group]).astype(np.float32) * scale[group]).T


def aqlm(T, P, q):
    codes = T[P + ".codes"][1].astype(np.int64) & (2 ** q["nbits_per_codebook"] - 1)
    books = widen(T[P + ".codebooks"])
    w = np.zeros(codes.shape[:2] + books.shape[2:], np.float32)
    for m in range(len(books)):
        w = w + books[m][codes[..., m]]
    w = w * widen(T[P + ".scales"])
    return w.transpose(0, 2, 1, 3).reshape(codes.shape[0] * books.shape[2], -1)


def vq(T, P, q):
    tier = q["vq"]["tiers"][str(q["extra_config"][P]["bits"])]
    scale, group = widen(T[P + ".scales"]), q["vq"]["norm_group"]
    cols = scale.shape[1] * group
    idx = fields(T[P + ".qweight"][1], tier["nbits"], cols // tier["d"])
    return widen(T[tier["codebook"]])[idx].reshape(len(scale), cols) * np.repeat(scale, group, 1)


def mt19937(seed):
    mt = [seed & 0xffffffff]
    for i in range(1, 624):
        mt.append((1812433253 * (mt[-1] ^ mt[-1] >> 30) + i) & 0xffffffff)
    while True:
        for i in range(624):
            y = mt[i] & 0x80000000 | mt[(i + 1) % 624] & 0x7fffffff
            mt[i] = mt[(i + 397) % 624] ^ y >> 1 ^ (0x9908b0df if y & 1 else 0)
        for y in mt:
            y ^= y >> 11
            y ^= y << 7 & 0x9d2c5680
            y ^= y << 15 & 0xefc60000
            yield y ^ y >> 18


# The upper half of each codebook, F32 bits (turboquant-plus-vllm).
TQ_HALVES = {
    (3, 128): "3cb1778c 3d88d9fa 3df345ff 3e42c596",
    (3, 256): "3c7af9e9 3d418986 3dac0531 3e09b977",
    (4, 256): "3c00fc6b 3cc30993 3d253e96 3d6d8074 3d9ea3f6 3dccd2f9 3e034c65 3e2de592",
}


def tq3(T, N, q):
    size, norms = q["group_size"], T[N + ".tq_norms"][1]
    packed = T[N + ".tq_packed"][1].reshape(norms.size, -1)
    bits = packed.shape[1] * 8 // size
    upper = np.array([int(h, 16) for h in TQ_HALVES[bits, size].split()], np.uint32).view(np.float32)
    draw = mt19937(q["quantizer_seed"])
    signs = np.array([1 if next(draw) & 1 else -1 for _ in range(2 * size)], np.float32)
    v = np.concatenate([-upper[::-1], upper])[fields(packed, bits, size)] * signs[size:]
    h = 1
    while h < size:
        pair = v.reshape(norms.size, -1, 2, h)
        v = np.stack([pair[:, :, 0] + pair[:, :, 1], pair[:, :, 0] - pair[:, :, 1]], 2).reshape(v.shape)
        h *= 2
    v = v / np.float32(np.sqrt(size)) * signs[:size] * norms.reshape(-1, 1)
    cols = q.get("orig_in_dims", {}).get(N, norms.shape[1] * size)
    return v.reshape(norms.shape[0], -1)[:, :cols]


# What tells a module of a format: the array that has its codes, and the decoder.
CODES = [("weight_packed", compressed_tensors_int), ("weight_scale_2", modelopt_nvfp4),
         ("weight_scale_inv", fp8_blocks), ("qweight", gptq_v1), ("codes", aqlm)]
PARTS = re.compile(r"\.(weight_packed|weight_scale|weight_shape|weight_zero_point|weight_global_scale|input_global_scale|"
                   r"weight_scale_2|input_scale|weight_scale_inv|qweight|qzeros|scales|g_idx|codes|codebooks|"
                   r"k_scale|v_scale)$")


def decoder_of(T, P, q):
    if P + ".weight_global_scale" in T:
        return compressed_tensors_nvfp4
    if q.get("extra_config", {}).get(P, {}).get("format") == "vq":
        return vq
    if P + ".qweight" in T and q.get("quant_method") == "awq":
        return awq_gemm
    return next((d for leaf, d in CODES if P + "." + leaf in T), None)


def read_folder(folder):
    """Logical tensors of a folder (or of one loose file), in F32."""
    files, q = [folder], {}
    if os.path.isdir(folder):
        files = [f"{folder}/{f}" for f in sorted(os.listdir(folder))
                 if re.fullmatch(r"(model.*|mtp|vq_codebooks)\.safetensors", f)]
        q = json.load(open(f"{folder}/config.json")).get("quantization_config", {})
        if os.path.exists(f"{folder}/tq_config.json"):
            q = json.load(open(f"{folder}/tq_config.json"))
    T, out, books = {}, {}, set()
    for f in files:
        T.update(read_safetensors(f))
        if "codebooks" in f:
            books |= set(read_safetensors(f))
    for name in T:
        N = re.sub(r"\.tq_(packed|norms)$", "", name)
        P = PARTS.sub("", name) if PARTS.search(name) else re.sub(r"\.weight$", "", name)
        if N != name:
            if N not in out:
                out[N] = tq3(T, N, q)
        elif decoder_of(T, P, q):
            if P + ".weight" not in out:
                out[P + ".weight"] = decoder_of(T, P, q)(T, P, q)
        elif not PARTS.search(name) and name not in books:
            out[name] = widen(T[name])
    return out


# ---- GGUF ----

GGUF_TOP = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
            "output.weight": "lm_head.weight"}
GGUF_LAYER = {
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    "post_attention_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
    "attn_q_a": "self_attn.q_a_proj", "attn_q_a_norm": "self_attn.q_a_layernorm", "attn_q_b": "self_attn.q_b_proj",
    "attn_kv_a_mqa": "self_attn.kv_a_proj_with_mqa", "attn_kv_a_norm": "self_attn.kv_a_layernorm",
    "indexer.attn_q_b": "self_attn.indexer.wq_b", "indexer.attn_k": "self_attn.indexer.wk",
    "indexer.k_norm": "self_attn.indexer.k_norm", "indexer.proj": "self_attn.indexer.weights_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj", "ffn_gate_inp": "mlp.gate",
    "ffn_gate_shexp": "mlp.shared_experts.gate_proj", "ffn_up_shexp": "mlp.shared_experts.up_proj",
    "ffn_down_shexp": "mlp.shared_experts.down_proj",
    "nextn.eh_proj": "eh_proj", "nextn.enorm": "enorm", "nextn.hnorm": "hnorm",
    "nextn.shared_head_norm": "shared_head.norm", "nextn.shared_head_head": "shared_head.head",
    "nextn.embed_tokens": "embed_tokens",
}


def read_gguf(folder, expected):
    import gguf
    out, kv_b = {}, {}
    for f in sorted(f for f in os.listdir(folder) if f.endswith(".gguf")):
        for t in gguf.GGUFReader(f"{folder}/{f}").tensors:
            w = np.ascontiguousarray(gguf.quants.dequantize(t.data, t.tensor_type), np.float32)
            w = w.reshape([int(n) for n in t.shape][::-1])
            assert hashlib.sha256(w.tobytes()).hexdigest() == expected.pop(t.name)["sha256_f32"], t.name
            if t.name in GGUF_TOP:
                out[GGUF_TOP[t.name]] = w
                continue
            layer, what, leaf = re.fullmatch(r"blk\.(\d+)\.(.*)\.(weight|bias)", t.name).groups()
            at = f"model.layers.{layer}."
            if what == "exp_probs_b":
                out[at + "mlp.gate.e_score_correction_bias"] = w
            elif what.endswith("_exps"):
                for e, one in enumerate(w):
                    out[f"{at}mlp.experts.{e}.{what[4:-5]}_proj.weight"] = one
            elif what in ("attn_k_b", "attn_v_b"):  # [heads, lora, nope] and [heads, v, lora]
                kv_b.setdefault(at, {})[what[5]] = w
            else:
                out[f"{at}{GGUF_LAYER[what]}.{leaf}"] = w
    for at, p in kv_b.items():
        w = np.concatenate([p["k"].transpose(0, 2, 1), p["v"]], 1)
        out[at + "self_attn.kv_b_proj.weight"] = w.reshape(-1, w.shape[2])
    assert not expected, list(expected)[:3]
    return out


# ---- the hashes of the tools ----

def rounded(w, dtype):
    """The bytes of one rounding to nearest even."""
    w = np.ascontiguousarray(w, np.float32)
    if dtype == "BF16":
        b = w.view(np.uint32)
        return ((b + 0x7fff + (b >> 16 & 1)) >> 16).astype("<u2").tobytes()
    return w.astype({"F16": "<f2", "F32": "<f4"}[dtype]).tobytes()


def hashes(expected):
    """(tensor, dtype, sha256) of every shape that expected.json comes in."""
    for name, h in expected.get("sha256_f32", {}).items():
        yield name, "F32", h
    for name, t in expected.get("tensors", {}).items():
        if "sha256" in t:
            yield name, t["dtype"], t["sha256"]
        for dtype in ("F32", "F16", "BF16"):
            if "sha256_" + dtype.lower() in t:
                yield name, dtype, t["sha256_" + dtype.lower()]
            if dtype.lower() in t:
                yield name, dtype, t[dtype.lower()]["sha256"]


def verify(tensors, expected):
    n = 0
    for name, dtype, want in hashes(expected):
        assert hashlib.sha256(rounded(tensors[name], dtype)).hexdigest() == want, (name, dtype)
        n += 1
    return n


# ---- digests ----

def digest(w):
    w = np.ascontiguousarray(w, "<f4") + np.float32(0)  # -0 + 0 = +0
    w = np.where(np.isnan(w), np.array(0x7fc00000, np.uint32).view(np.float32), w).astype("<f4")
    return xxhash.xxh3_128_hexdigest(w.tobytes())


def write(path, tensors):
    lines = [f"{name}\t{digest(tensors[name])}\n" for name in sorted(tensors, key=str.encode)]
    with open(path, "w") as f:
        f.writelines(lines)
        f.write(f"model\t{xxhash.xxh3_128_hexdigest(''.join(lines).encode())}\n")


def one(root, name, out):
    folder = f"{root}/{name}"
    where = next((f for f in (f"{folder}/expected.json", f"{folder}/expected/expected.json") if os.path.exists(f)), None)
    expected = json.load(open(where)) if where else {}
    if "gguf" in name:
        hashed = len(expected)
        tensors = read_gguf(folder, expected)
    else:
        tensors = read_folder(f"{folder}/ragged.safetensors" if "ragged" in name else folder)
        hashed = verify(tensors, expected)
    write(f"{out}/{name}.txt", tensors)
    print(f"{name}: {len(tensors)} tensors, {hashed} hashes agree")


def is_checkpoint(folder):
    files = os.listdir(folder) if os.path.isdir(folder) else []
    return "ragged.safetensors" in files or any(f.endswith(".gguf") for f in files) or \
        ("config.json" in files and any(f.startswith("model") for f in files))


if __name__ == "__main__":
    fixtures, target = sys.argv[1:3]
    for name in sys.argv[3:] or sorted(f for f in os.listdir(fixtures) if is_checkpoint(f"{fixtures}/{f}")):
        one(fixtures, name, target)
