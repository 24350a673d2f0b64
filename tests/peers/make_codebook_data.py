#!/usr/bin/env python3
"""Makes tests/vectors/vq.json and aqlm.json, the checkpoints vq-mixed and aqlm-3x6 of
tests/data/checkpoints, and the .pt files of tests/data/torch-pt and tests/fuzz/corpus/pt.

AQLM is decoded by its own package.  VQ has no public package: codes are packed and decoded
here, bit by bit, from the description in docs/formats.md.

needs torch, numpy, safetensors; usage: make_codebook_data.py MAKE_SAMPLE TESTS AQLM_PACKAGE
(AQLM_PACKAGE: the folder that holds aqlm/utils.py)
"""
import hashlib
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import torch
from safetensors.torch import load_file, save_file

make_sample, TESTS, AQLM = sys.argv[1:4]
spec = importlib.util.spec_from_file_location("aqlm_utils", f"{AQLM}/aqlm/utils.py")
aqlm = importlib.util.module_from_spec(spec)
spec.loader.exec_module(aqlm)
rng = np.random.default_rng(5)


def hexa(a):
    return np.ascontiguousarray(a).tobytes().hex()


# ---- VQ ----

def pack(codes, bits):
    """Rows of codes as streams, lowest bits first, in whole 32-bit words."""
    rows, n = codes.shape
    words = -(-n * bits // 32)
    out = np.zeros((rows, words * 32), np.uint8)
    for i in range(bits):
        out[:, i:n * bits:bits] = codes >> i & 1
    return np.packbits(out, axis=1, bitorder="little").view("<u4")


def decode(codes, book, scales, group):
    w = book.astype(np.float32)[codes].reshape(codes.shape[0], -1, group)
    return (w * scales.astype(np.float32)[..., None]).reshape(codes.shape[0], -1)


def vq_case(name, K, d, bits, group, codes, scales, book, variant=0, scale="F16"):
    codes = np.asarray(codes)
    rows, cols = codes.shape[0], codes.shape[1] * d
    w = decode(codes, book, scales, group)
    stream = pack(codes, bits)
    forms = {0: stream, 1: stream, 2: stream.view("i1"), 3: stream.view("u1"), 4: codes.astype("<u2"), 5: codes.astype("<u2"),
             6: codes.astype("u1"), 7: codes.astype("u1"), 8: stream.T}
    if scale == "BF16":
        stored = (scales.astype(np.float32).view(np.uint32) >> 16).astype("<u2")
    else:
        stored = scales.astype("<f2" if scale == "F16" else "<f4")
    return {"name": name, "encoding": {"codec": "vq", "bits": bits, "group": group, "scale": scale, "variant": variant,
                                       "book": {"entries": K, "width": d, "values": hexa(book.astype("<f4"))}},
            "rows": rows, "cols": cols, "slots": {"codes": hexa(forms[variant]), "scales": hexa(stored)},
            "values": hexa(w.astype("<f4"))}


def vq_vectors():
    half = lambda *shape: rng.normal(size=shape).astype(np.float16)
    positive = lambda *shape: np.abs(half(*shape)) + np.float16(0.01)
    cases = []
    # the published examples: one codeword, one scale
    word8 = np.frombuffer(bytes.fromhex("f8b75fb091b54ebee4b757be833d283c"), "<f2")
    word4 = np.frombuffer(bytes.fromhex("90bf2b36233c9331"), "<f2")
    s = np.frombuffer(bytes.fromhex("4c22"), "<f2").reshape(1, 1)
    for word, d, want in ((word8, 8, "80b6c8bba031dcba30348cbba0cc9ebcc0bec6bb50af9fbc90d38a3c005f513c"),
                          (word4, 4, "007bbebc105b9b3b2063503c90660c3b")):
        book = np.zeros((256, d), np.float16)
        book[0x2a] = word
        c = vq_case(f"codeword of {d}", 256, d, 8, d, [[0x2a]], s, book)
        assert c["values"] == want
        cases.append(c)
    codes = [[0x11, 0x22, 0xfe, 0x80]]
    c = vq_case("8-bit codes", 256, 2, 8, 8, codes, s, half(256, 2))
    assert c["slots"]["codes"] == "1122fe80"
    cases.append(c)
    book12 = np.zeros((4096, 2), np.float16)
    codes = [[0xabc, 0x123, 0xfff, 0x001, 0x800, 0x7ef, 0x00a, 0x5a5]]
    cases.append(vq_case("6-bit codes, padding", 64, 2, 6, 16, [[0x01, 0x02, 0x3f, 0x20, 0x11, 0x05, 0x28, 0x09]], s, half(64, 2)))
    assert cases[-1]["slots"]["codes"] == "81f0835181260000"
    assert hexa(pack(np.array(codes), 12)) == "bc3a12ff1f0000f87e0a505a"
    # 12 bits, straddling words, over a small codebook's worth of values: 7 bits do the same
    for bits, K, d, per, n, rows in ((7, 128, 2, 3, 33, 3), (5, 23, 3, 1, 7, 2), (9, 300, 1, 4, 12, 2), (3, 8, 4, 8, 40, 2),
                                     (1, 2, 8, 2, 34, 2), (11, 1100, 1, 16, 64, 2)):
        book = half(K, d)
        book[0] = -0.0
        codes = rng.integers(0, K, (rows, n))
        codes[0, 0], codes[-1, -1] = K - 1, 0
        scales = positive(rows, n // per)
        scales[0, 0], scales[-1, -1] = 0, np.float16(6e-8)  # nothing, and the least subnormal
        cases.append(vq_case(f"{bits} bits, {K} entries of {d}", K, d, bits, per * d, codes, scales, book))
    book, codes = half(100, 4), rng.integers(0, 100, (3, 6))
    for variant, what in enumerate(("I32", "U32", "I8", "U8", "each I16", "each U16", "each I8", "each U8", "turned")):
        cases.append(vq_case(f"7 bits as {what}", 100, 4, 7, 12, codes, positive(3, 2), book, variant))
    for scale in ("F32", "BF16"):
        scales = positive(2, 2).astype(np.float32) * np.float32(1.1)
        if scale == "BF16":
            scales = (scales.view(np.uint32) & 0xffff0000).view(np.float32)
        cases.append(vq_case(f"scales in {scale}", 16, 4, 4, 16, rng.integers(0, 16, (2, 8)), scales, half(16, 4), 0, scale))
    book = half(16, 4).astype(np.float32) * np.float32(1.0000001)
    cases.append(vq_case("a book of F32: one rounding", 16, 4, 4, 16, rng.integers(0, 16, (2, 8)), positive(2, 2), book))
    # zero points as the packer of VQ checkpoints ORs them: the field plus one, also 16
    for zeros, word in (([1, 2, 3, 4, 5, 6, 7, 15], "103254e6"), ([8, 8, 16, 16, 16, 16, 16, 16], "77ffffff")):
        stored = pack(np.array([zeros]) - 1, 4)
        assert hexa(stored) == word
        w = np.repeat(-np.array(zeros, "<f4")[:, None], 32, 1)
        cases.append({"name": f"zero points {zeros}",
                      "encoding": {"codec": "gptq", "bits": 4, "group": 32, "zeros": "stored", "scale": "F16", "variant": 3},
                      "rows": 8, "cols": 32, "slots": {"codes": "00" * 128, "scales": "003c" * 8, "zeros": word}, "values": hexa(w)})
    return cases


# ---- AQLM ----

FLOATS = {torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32"}


def aqlm_module(M, b, ig, og, O, I, dtype=torch.float16, by_place=False, generator=None):
    codes = torch.randint(0, 2 ** b, (O // og, I // ig, M), generator=generator)
    codes.view(-1)[:3] = torch.tensor([2 ** (b - 1), 2 ** (b - 1) - 1, 2 ** b - 1])  # the sign's boundary
    books = (torch.randn(M, 2 ** b, og, ig, generator=generator) / I ** 0.5).to(dtype)
    books[0, int(codes[0, 0, 0]), 0, 0] = -0.0
    scales = (torch.rand(O // og, I // ig if by_place else 1, 1, 1, generator=generator) + 0.5).to(dtype)
    scales[-1] = 6e-8
    w = aqlm._dequantize_weight(codes, books.float(), scales.float())
    return aqlm.pack_int_data(codes.clone(), b), books, scales, w


def aqlm_vectors():
    g = torch.Generator().manual_seed(6)
    cases = []
    raw = lambda t: t.contiguous().flatten().view(torch.uint8).numpy().tobytes().hex()
    for M, b, ig, og, O, I, dtype, by_place in (
            (2, 1, 4, 1, 2, 4, torch.float16, False), (1, 8, 8, 1, 3, 16, torch.float16, False), (2, 4, 8, 1, 2, 24, torch.bfloat16, False),
            (3, 5, 4, 2, 4, 12, torch.float16, False), (1, 9, 2, 4, 8, 6, torch.float32, False), (5, 3, 3, 1, 2, 9, torch.float16, False),
            (2, 4, 8, 2, 4, 32, torch.float16, True), (1, 12, 1, 1, 2, 8, torch.float16, False)):
        codes, books, scales, w = aqlm_module(M, b, ig, og, O, I, dtype, by_place, g)
        cases.append({"name": f"{M} codebooks of {b} bits, {og} x {ig}, {FLOATS[dtype]}{', scale per place' if by_place else ''}",
                      "encoding": {"codec": "aqlm", "bits": b, "scale": FLOATS[dtype],
                                   "aqlm": {"books": M, "in": ig, "out": og, "codes": "I8" if b <= 8 else "I16",
                                            "floats": FLOATS[dtype], "by_place": int(by_place)}},
                      "rows": O, "cols": I, "slots": {"codes": raw(codes), "scales": raw(scales), "book": raw(books)},
                      "values": raw(w)})
    # the published example
    cases.append({"name": "two codebooks of one bit",
                  "encoding": {"codec": "aqlm", "bits": 1, "scale": "F16",
                               "aqlm": {"books": 2, "in": 4, "out": 1, "codes": "I8", "floats": "F16", "by_place": 0}},
                  "rows": 2, "cols": 4,
                  "slots": {"codes": "00ffff00", "scales": "f03c422b",
                            "book": "003800bc54350040662e6632cd34663619141918259a191c00477bac2b1fbc11"},
                  "values": "00201441a80fa9bf8ae2d63e280e1e40079dbb3b079d3b3ca4fa893c079dbb3c"})
    return cases


def write_vectors(name, about, cases):
    with open(f"{TESTS}/vectors/{name}.json", "w") as f:
        f.write('{"about":' + json.dumps(about) + ',\n"cases":[\n' +
                ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]}\n")


# ---- checkpoints ----

LINEAR = re.compile(r"(self_attn\.(?!indexer).*_proj|self_attn\..*_with_mqa|mlp\.(?!gate\.).*_proj)\.weight$")
EXPERT = re.compile(r"\.mlp\.experts\.\d+\.\w+_proj\.weight$")


def base(name, *args):
    folder = f"{TESTS}/data/checkpoints/{name}"
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([make_sample, *map(str, args), folder], check=True)
    tensors = load_file(f"{folder}/model.safetensors")
    os.remove(f"{folder}/model.safetensors")
    for f in ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"):
        os.remove(f"{folder}/{f}")
    return folder, json.load(open(f"{folder}/config.json")), tensors


def finish(folder, config, tensors, decoded):
    save_file({k: v.contiguous() for k, v in tensors.items()}, f"{folder}/model.safetensors", metadata={"format": "pt"})
    json.dump(config, open(f"{folder}/config.json", "w"), indent=1)
    out = {k: {"dtype": "F32", "shape": list(w.shape), "sha256": hashlib.sha256(np.ascontiguousarray(w, "<f4").tobytes()).hexdigest()}
           for k, w in sorted(decoded.items())}
    json.dump({"tensors": out}, open(f"{folder}/expected.json", "w"), indent=0)


def nearest(x, book):
    return (x @ book.T - (book ** 2).sum(1) / 2).argmax(1)


def kmeans(x, K, rounds=8):
    book = x[rng.permutation(len(x))[:K]].copy()
    for _ in range(rounds):
        c = nearest(x, book)
        for k in range(K):
            if (c == k).any():
                book[k] = x[c == k].mean(0)
    return book.astype(np.float16)


def vq_checkpoint(name, args, tiers, norm, spine):
    """tiers: bits -> (d, K, dtype of the codes, packed); experts take turns through them."""
    folder, config, tensors = base(name, *args)
    experts = [k for k in tensors if EXPERT.search(k)]
    order = {k: list(tiers)[i % len(tiers)] for i, k in enumerate(experts)}
    out, decoded, extra, books = {}, {}, {}, {}
    normal = {}
    for k in experts:
        w = tensors[k].float().numpy()
        g = w.reshape(w.shape[0], -1, norm)
        s = np.sqrt((g ** 2).mean(-1)).astype(np.float16)
        normal[k] = ((g / np.maximum(s[..., None].astype(np.float32), 1e-8)).reshape(w.shape), s)
    for b, (d, K, _, _) in tiers.items():
        books[b] = kmeans(np.concatenate([normal[k][0].reshape(-1, d) for k in experts if order[k] == b]), K)
    for k in experts:
        b, p = order[k], k[:-len("weight")]
        d, K, dtype, packed = tiers[b]
        x, s = normal[k]
        codes = nearest(x.reshape(-1, d), books[b].astype(np.float32)).reshape(x.shape[0], -1)
        stored = pack(codes, (K - 1).bit_length()).view(dtype) if packed else codes.astype(dtype)
        out[p + "vq_codes"], out[p + "scales"] = torch.from_numpy(stored.copy()), torch.from_numpy(s)
        decoded[k] = decode(codes, books[b], s, norm)
        extra["language_model." + p[:-1]] = {"bits": b, "format": "vq", "d": d}
    for k, w in tensors.items():
        if k in order:
            continue
        n, cols = w.shape if w.dim() == 2 else (0, 0)
        if not LINEAR.search(k) or cols % spine or n % 8:
            out[k] = w
            continue
        p, g = k[:-len("weight")], w.float().numpy().reshape(n, -1, spine)
        lo, hi = np.minimum(g.min(-1), 0), np.maximum(g.max(-1), 0)
        s = ((hi - lo) / 15).astype(np.float16)
        z = np.clip(np.round(-lo / s.astype(np.float32)), 1, 16).astype(np.int64)  # 16 is a full field: read as it is served
        q = np.clip(np.round(g / s.astype(np.float32)[..., None]) + z[..., None], 0, 15).reshape(n, cols).astype(np.int64)
        if k.endswith("o_proj.weight"):
            z[0, 0] = 16
        out[p + "qweight"] = torch.from_numpy(pack(q, 4).T.astype("<u4").view("<i4").copy())
        out[p + "qzeros"] = torch.from_numpy(pack(z.T - 1, 4).view("<i4").copy())
        out[p + "scales"] = torch.from_numpy(s.T.copy())
        decoded[k] = ((q.reshape(g.shape) - z[..., None]).astype(np.float32) * s.astype(np.float32)[..., None]).reshape(n, cols)
        extra[p[:-1]] = {"bits": 4, "group_size": spine, "sym": False}
    config["quantization_config"] = {
        "quant_method": "auto-round", "packing_format": "auto_round:auto_gptq", "bits": 16, "group_size": spine, "sym": False,
        "data_type": "int", "block_name_to_quantize": "model.layers", "autoround_version": "0.9.0", "extra_config": extra,
        "vq": {"codebooks_file": "books.safetensors", "norm_group": norm, "codes_suffix": "vq_codes", "scales_suffix": "scales",
               "packing": "lsb-first",
               "tiers": {f"{b:g}": {"d": d, "K": K, "codebook": f"book.{b:g}"} for b, (d, K, _, _) in tiers.items()}}}
    save_file({f"book.{b:g}": torch.from_numpy(v[None]) for b, v in books.items()}, f"{folder}/books.safetensors")
    finish(folder, config, out, decoded)


def aqlm_checkpoint(name, args, M, b, ig, og):
    folder, config, tensors = base(name, *args)
    g = torch.Generator().manual_seed(7)
    out, decoded, kept = {}, {}, []
    for k, w in tensors.items():
        if not LINEAR.search(k) or w.shape[1] % ig or w.shape[0] % og:
            out[k] = w if w.dtype == torch.float32 else w.half()
            kept.append(k)
            continue
        p = k[:-len("weight")]
        codes, books, scales, dense = aqlm_module(M, b, ig, og, *w.shape, generator=g)
        out.update({p + "codes": codes, p + "codebooks": books, p + "scales": scales})
        decoded[k] = dense.numpy()
    config["quantization_config"] = {"quant_method": "aqlm", "nbits_per_codebook": b, "num_codebooks": M, "out_group_size": og,
                                     "in_group_size": ig, "linear_weights_not_to_quantize": kept}
    finish(folder, config, out, decoded)


# ---- PyTorch files ----

def torch_files():
    torch.manual_seed(8)
    data, corpus = f"{TESTS}/data/torch-pt", f"{TESTS}/fuzz/corpus/pt"
    for folder in (data, corpus):
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
    t = torch.arange(64, dtype=torch.float32).reshape(16, 4) / 8 - 3

    def save(name, what, **how):
        torch.save(what, f"{data}/{name}.pt", **how)

    save("f32", t)
    save("f16", t.half())
    save("bf16", t.bfloat16())
    save("f64", t.double().reshape(1, 16, 1, 4))
    save("parameter", torch.nn.Parameter(t))
    save("dictionary", {"codebook": t, "count": torch.arange(3)})
    save("protocol4", t, pickle_protocol=4)
    save("two", [t, t.clone()])
    save("integers", t.int())
    save("turned", torch.randn(4, 16).t())
    save("slice", torch.cat([t, t])[:16])
    save("offset", torch.cat([t, t])[4:20])
    save("old", t, _use_new_zipfile_serialization=False)
    for name, method, change in (("deflated", zipfile.ZIP_DEFLATED, {}), ("big-endian", zipfile.ZIP_STORED, {"byteorder": b"big"}),
                                 ("no-pickle", zipfile.ZIP_STORED, {"data.pkl": None})):
        z = zipfile.ZipFile(f"{data}/f16.pt")
        with zipfile.ZipFile(f"{data}/{name}.pt", "w", method) as out:
            for i in z.infolist():
                body = change.get(i.filename.split("/", 1)[1], z.read(i))
                if body is not None:
                    out.writestr(i.filename, body)
    for f in sorted(os.listdir(data)):
        shutil.copy(f"{data}/{f}", f"{corpus}/{f[:-3]}")
    whole = open(f"{data}/f16.pt", "rb").read()
    for n in (0, 3, 30, 200, 700, len(whole) - 60, len(whole) - 1):
        open(f"{corpus}/cut_{n}", "wb").write(whole[:n])
    for at in (18, 22, 26, 28, len(whole) - 12, len(whole) - 6, len(whole) - 4):  # sizes, lengths, offsets
        for v in (0, 0xff):
            b = bytearray(whole)
            b[at] = v
            open(f"{corpus}/byte_{at}_{v}", "wb").write(b)
    flipped = bytearray(whole)
    flipped[whole.index(t.half().numpy().tobytes())] ^= 1
    open(f"{corpus}/checksum", "wb").write(flipped)
    open(f"{data}/checksum.pt", "wb").write(flipped)


if __name__ == "__main__":
    write_vectors("vq", "Codes of shared codebooks, packed and decoded with numpy; slots and values are bytes in hex", vq_vectors())
    write_vectors("aqlm", "AQLM matrices as aqlm 1.1.7 packs and decodes them; slots and values are bytes in hex", aqlm_vectors())
    dsa = ["--arch", "glm_moe_dsa", "--hidden", 96, "--layers", 3, "--experts", 3, "--moe", 64, "--dense", 64, "--vocab", 352, "--mtp", 0]
    moe = ["--hidden", 64, "--layers", 2, "--experts", 4, "--moe", 64, "--dense", 128, "--heads", 2, "--kv-heads", 1]
    vq_checkpoint("vq-mixed", dsa + ["--seed", 31], {1.5: (4, 64, "<i4", True), 2: (4, 200, "u1", True), 3: (2, 60, "u1", False)}, 32, 32)
    aqlm_checkpoint("aqlm-3x6", moe + ["--seed", 32], 3, 6, 4, 2)
    torch_files()
