#!/usr/bin/env python3
"""Makes tests/vectors/{fp8,awq}.json: small matrices with the corner cases of a format, and the values
that torch (FP8) and GPTQModel (AWQ) decode them to.

    make_vectors.py FOLDER
"""
import json
import os
import sys

import torch
from gptqmodel.quantization.awq.utils.packing_utils import dequantize_gemm


def hexed(t):
    return bytes(t.contiguous().view(torch.uint8).flatten().tolist()).hex()


def write(path, about, cases):
    lines = ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases)
    with open(path, "w") as f:
        f.write(json.dumps({"about": about})[:-1] + ',\n"cases":[\n' + lines + "\n]}\n")


# ---- FP8: values times the scale of their block, one product in F32 ----

DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16"}


def fp8(name, codes, scale, group_rows, group):
    rows, cols = codes.shape
    spread = scale.float()
    if group_rows:
        spread = spread.repeat_interleave(group_rows, 0)[:rows]
    if group:
        spread = spread.repeat_interleave(group, 1)[:, :cols]
    values = codes.view(torch.float8_e4m3fn).float() * spread
    return {"name": name,
            "encoding": {"codec": "fp8", "group": group, "group_rows": group_rows, "scale": DTYPES[scale.dtype]},
            "rows": rows, "cols": cols, "slots": {"codes": hexed(codes), "scales": hexed(scale)},
            "values": hexed(values)}


def fp8_cases():
    every = torch.tensor([c for c in range(256) if c & 0x7F != 0x7F], dtype=torch.uint8)
    some = every[torch.randperm(254, generator=torch.Generator().manual_seed(1))[:210]]
    tiny = torch.tensor([[1e-40], [2.0**-126]])  # subnormal products, and signed zeros among them
    return [
        fp8("every number, one scale a row", every.repeat(2, 1), tiny, 1, 0),
        fp8("every number, one scale", every.repeat(1, 1), torch.tensor([[1.0 / 3]]), 0, 0),
        fp8("blocks that rows and columns end inside of", some.reshape(14, 15), torch.rand(4, 2), 4, 8),
        fp8("scales of BF16", some.reshape(10, 21), torch.rand(5, 6).bfloat16(), 2, 4),
    ]


# ---- AWQ: eight rows in a word, in an order of their own ----

ORDER = (0, 2, 4, 6, 1, 3, 5, 7)


def pack(q):
    """[K, N] of 0..15 to [K, N / 8] words."""
    words = torch.zeros(q.shape[0], q.shape[1] // 8, dtype=torch.int64)
    for at, row in enumerate(ORDER):
        words |= q[:, row::8].long() << 4 * at
    return torch.where(words >= 2**31, words - 2**32, words).to(torch.int32)


def awq(name, q, zeros, scales, group):
    words, packed = pack(q), pack(zeros)
    values = dequantize_gemm(words, packed, scales, 4, group)
    return {"name": name,
            "encoding": {"codec": "awq", "bits": 4, "group": group, "zeros": "stored", "scale": "F16", "variant": 0},
            "rows": q.shape[1], "cols": q.shape[0],
            "slots": {"codes": hexed(words), "zeros": hexed(packed), "scales": hexed(scales)},
            "rounded.bits": hexed(values.T), "rounded.dtype": "F16"}


def awq_cases():
    g = torch.Generator().manual_seed(2)
    q = torch.randint(0, 16, (64, 16), generator=g)
    scales = torch.rand(2, 16, generator=g).half()
    edges = torch.tensor([0, 15, 1, 8, 7, 14, 0, 15] * 2).repeat(2, 1)
    subnormal = (scales * 2.0**-16).half()
    return [
        awq("zeros of 0 and 15", q, edges, scales, 32),
        awq("subnormal and zero scales", q, edges.flip(1), subnormal * (torch.arange(16) > 2), 32),
        awq("a negative scale", q, edges, -scales, 32),
    ]


def main(folder):
    write(os.path.join(folder, "fp8.json"),
          f"FP8 (E4M3) values times scales as torch {torch.__version__.split('+')[0]} multiplies them; bytes in hex", fp8_cases())
    write(os.path.join(folder, "awq.json"), "AWQ's gemm packing as GPTQModel 7.7.0 decodes it; bytes in hex", awq_cases())


main(sys.argv[1])
