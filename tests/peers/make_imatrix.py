#!/usr/bin/env python3
"""Makes tests/data/imatrix: importance matrices for samples/glm4-moe-tiny in both of llama.cpp's forms, the
GGUF by the gguf package, beside what an encoder shall be given (the SHA-256 of F32 values, by numpy).

usage: make_imatrix.py OUT
"""
import hashlib
import json
import os
import struct
import sys

import numpy as np
from gguf import GGUFWriter

OUT = sys.argv[1]
HIDDEN, MOE, DENSE, HEADS, EXPERTS, LAYERS = 64, 64, 128, 128, 4, 2


def entries(rng):
    """name -> (sums [matrices, columns], counts [matrices])"""
    out = {}

    def add(name, cols, mats=1):
        counts = np.full(mats, 2048.0) if mats == 1 else rng.integers(0, 900, mats).astype(float)
        if mats > 1:
            counts[rng.integers(mats)] = 0  # an expert that saw nothing
        out[name] = ((rng.random((mats, cols)) ** 4 * counts[:, None]).astype(np.float32), counts.astype(np.float32))

    for i in range(LAYERS):
        p = f"blk.{i}."
        for name in ("attn_q", "attn_k", "attn_v"):
            add(p + name + ".weight", HIDDEN)
        add(p + "attn_output.weight", HEADS)
        if i == 0:
            add(p + "ffn_gate.weight", HIDDEN)
            add(p + "ffn_up.weight", HIDDEN)
            add(p + "ffn_down.weight", DENSE)
            continue
        for name, cols in (("gate", HIDDEN), ("up", HIDDEN), ("down", MOE)):
            add(f"{p}ffn_{name}_exps.weight", cols, EXPERTS)
            add(f"{p}ffn_{name}_shexp.weight", cols)
    return out


def means(sums, counts):
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(counts[:, None] > 0, sums / counts[:, None], np.float32(1)).astype(np.float32)


def describe(values, matrices, unseen):
    return {"values": int(values.size), "matrices": matrices, "unseen": unseen,
            "sha256": hashlib.sha256(values.tobytes()).hexdigest()}


def as_gguf(path, data):
    w = GGUFWriter(path, "")
    w.kv_data[0].pop("general.architecture", None)  # an importance matrix has none
    w.add_type("imatrix")
    w.add_array("imatrix.datasets", ["wiki.train.raw", "code.txt"])
    w.add_uint32("imatrix.chunk_count", 4)
    w.add_uint32("imatrix.chunk_size", 512)
    for name, (sums, counts) in sorted(data.items()):
        w.add_tensor(name + ".in_sum2", sums if len(counts) > 1 else sums[0])
        w.add_tensor(name + ".counts", counts.reshape(-1, 1) if len(counts) > 1 else counts)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return {n: describe(means(s, c), len(c), int((c <= 0).sum())) for n, (s, c) in data.items()}


def as_dat(path, data):
    """As llama-imatrix stores it: means times the number of calls, 1 for what was not seen."""
    out = {}
    with open(path, "wb") as f:
        f.write(struct.pack("<i", len(data)))
        for name, (sums, counts) in sorted(data.items()):
            calls = int(-(-counts.max() // 512))
            stored = (means(sums, counts) * np.float32(calls)).astype(np.float32)
            f.write(struct.pack("<i", len(name)) + name.encode() + struct.pack("<ii", calls, stored.size))
            f.write(stored.tobytes())
            out[name] = describe((stored / np.float32(calls)).astype(np.float32), 1, 0)
        f.write(struct.pack("<ii", 4, 14) + b"wiki.train.raw")
    return out


os.makedirs(OUT, exist_ok=True)
data = entries(np.random.default_rng(7))
expected = {"sample.gguf": as_gguf(f"{OUT}/sample.gguf", data), "sample.dat": as_dat(f"{OUT}/sample.dat", data)}
json.dump(expected, open(f"{OUT}/expected.json", "w"), indent=1)
