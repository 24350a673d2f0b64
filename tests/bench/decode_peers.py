"""How fast the Python peers decode, on one thread: lines "label <tab> peer <tab> GB/s of F32".

compressed-tensors is given F32 scales, which makes it decode to F32; GPTQModel decodes to half
floats, and each of its weights counts four bytes all the same.  Labels are those of the table
that bench_decode prints; it merges these lines.  A peer that is not installed, or cannot do
an encoding, is named on stderr and left out.

    decode_peers.py [--quick] [--only NAME]      the lines
    decode_peers.py --ggml                       the folder of ggml's shared libraries, if any
"""
import argparse
import importlib.util
import os
import sys
import time

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = os.environ["HF_HUB_OFFLINE"] = "1"

REAL_STDOUT = os.dup(1)
os.dup2(2, 1)  # packages greet on stdout


def ggml_folder():
    spec = importlib.util.find_spec("llama_cpp")
    for place in spec.submodule_search_locations if spec else []:
        if os.path.exists(os.path.join(place, "lib", "libggml-base.so")):
            return os.path.join(place, "lib")
    return ""


def best(call, weights, quick):
    """GB/s of the fastest of a few calls, in CPU time."""
    call()  # warm: compiled, cached, faulted in
    least, total, count = 1e30, 0.0, 0
    while count < 1 or (not quick and (count < 5 or total < 0.5) and count < 50):
        start = time.process_time()
        call()
        took = time.process_time() - start
        least, total, count = min(least, took), total + took, count + 1
    return weights * 4 / least / 1e9


# ---- compressed-tensors: its compressors' own decompress() ----


def scheme(**weights):
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

    return QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(**weights))


def decompressor(format, state, **weights):
    from compressed_tensors.compressors.base import BaseCompressor

    kind, what = BaseCompressor.get_value_from_registry(format), scheme(**weights)
    return lambda: kind.decompress(dict(state), what)["weight"]


def ct_packed(n, k, bits, group, symmetric=True):
    import torch

    words = torch.randint(-(2**31), 2**31 - 1, (n, k * bits // 32), dtype=torch.int32)
    state = {"weight_packed": words, "weight_scale": torch.rand(n, k // group),
             "weight_shape": torch.tensor([n, k])}
    if not symmetric:
        state["weight_zero_point"] = torch.randint(-(2**31), 2**31 - 1, (n * bits // 32, k // group), dtype=torch.int32)
    return decompressor("pack-quantized", state, num_bits=bits, type="int", strategy="group", group_size=group,
                        symmetric=symmetric)


def ct_int(n, k):
    import torch

    state = {"weight": torch.randint(-128, 127, (n, k), dtype=torch.int8),
             "weight_scale": torch.rand(n, 1)}
    return decompressor("int-quantized", state, num_bits=8, type="int", strategy="channel", symmetric=True)


def ct_fp8(n, k, **strategy):
    import torch

    shape = (n // 128, k // 128) if strategy["strategy"] == "block" else (n, 1)
    state = {"weight": torch.rand(n, k).to(torch.float8_e4m3fn),
             "weight_scale": torch.rand(shape)}
    return decompressor("float-quantized", state, num_bits=8, type="float", symmetric=True, **strategy)


def ct_fp4(n, k, format, group, scale):
    import torch

    state = {"weight_packed": torch.randint(0, 255, (n, k // 2), dtype=torch.uint8), "weight_scale": scale(n, k // group)}
    more = {"strategy": "group"}
    if group == 16:
        state["weight_global_scale"] = torch.tensor([400.0])
        more = {"strategy": "tensor_group", "scale_dtype": torch.float8_e4m3fn}
    return decompressor(format, state, num_bits=4, type="float", group_size=group, symmetric=True, **more)


def ct_nvfp4(n, k):
    import torch

    return ct_fp4(n, k, "nvfp4-pack-quantized", 16, lambda *s: torch.rand(s).to(torch.float8_e4m3fn))


def ct_mxfp4(n, k):
    import torch

    return ct_fp4(n, k, "mxfp4-pack-quantized", 32, lambda *s: torch.randint(115, 123, s, dtype=torch.uint8))


# ---- ModelOpt ----


def modelopt_nvfp4(n, k):
    import torch
    from modelopt.torch.quantization.qtensor.nvfp4_tensor import NVFP4QTensor

    codes = torch.randint(0, 255, (n, k // 2), dtype=torch.uint8)
    scale = torch.rand(n, k // 16).to(torch.float8_e4m3fn)
    tensor = NVFP4QTensor(torch.Size((n, k)), torch.float32, codes)
    return lambda: tensor.dequantize(torch.float32, scale=scale, double_scale=torch.tensor(0.01), block_sizes={-1: 16})


# ---- GPTQModel: what its linear modules run to see their weights ----


def gptq(n, k, bits, group, desc_act=False):
    import torch
    from gptqmodel.nn_modules.qlinear.torch import TorchLinear

    m = TorchLinear(bits=bits, group_size=group, sym=False, desc_act=desc_act, in_features=k, out_features=n)
    m.qweight = torch.randint(-(2**31), 2**31 - 1, (k * bits // 32, n), dtype=torch.int32)
    m.qzeros = torch.randint(-(2**31), 2**31 - 1, (k // group, n * bits // 32), dtype=torch.int32)
    m.scales = torch.rand(k // group, n).to(torch.float16)
    index = torch.arange(k) if not desc_act else torch.arange(k) * 7 % k
    m.g_idx = (index // group).to(torch.int32)
    m.eval()
    m.optimized = True  # eager: its compiled form takes a C++ compiler and differs by torch version
    m.post_init()
    return m.dequantize_weight


def awq(n, k, group):
    import torch
    from gptqmodel.quantization.awq.utils.packing_utils import dequantize_gemm

    words = torch.randint(-(2**31), 2**31 - 1, (k, n // 8), dtype=torch.int32)
    zeros = torch.randint(-(2**31), 2**31 - 1, (k // group, n // 8), dtype=torch.int32)
    scales = torch.rand(k // group, n).to(torch.float16)
    return lambda: dequantize_gemm(words, zeros, scales, 4, group)


# ---- aqlm: what its modules run to see their weights, from what is stored to F32 ----


def aqlm(n, k, books, bits):
    import torch
    from aqlm.utils import _dequantize_weight, get_int_dtype, unpack_int_data

    most = 1 << (bits - 1)
    codes = torch.randint(-most, most, (n, k // 8, books), dtype=get_int_dtype(bits))
    entries, scales = torch.rand(books, 1 << bits, 1, 8).to(torch.float16), torch.rand(n, 1, 1, 1).to(torch.float16)
    return lambda: _dequantize_weight(unpack_int_data(codes, bits), entries.float(), scales.float())


# ---- turboquant: its CPU path ----


def tq3(n, k, bits, group):
    import torch
    from turboquant_vllm.torch_ops import PolarQuantTorch
    from turboquant_vllm.weight_quant import unpack_indices

    packed = torch.randint(0, 255, (n * k // group, group * bits // 8), dtype=torch.uint8)
    norms = torch.rand(n * k // group)
    coder = PolarQuantTorch(group, bits, seed=42, device="cpu")
    return lambda: coder.dequantize(unpack_indices(packed, bits, group), norms)


# ---- gguf-py: numpy ----


def gguf_type(n, k, name):
    import gguf
    import numpy as np

    kind = gguf.GGMLQuantizationType[name]
    block, size = gguf.GGML_QUANT_SIZES[kind]
    data = np.random.default_rng(1).integers(0, 255, (n, k // block * size), dtype=np.uint8)
    np.seterr(all="ignore")
    return lambda: gguf.quants.dequantize(data, kind)


GGUF_TYPES = ("F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ2_XXS IQ2_XS IQ2_S IQ3_XXS IQ3_S IQ1_S IQ1_M "
              "IQ4_NL IQ4_XS TQ1_0 TQ2_0 MXFP4 NVFP4 Q1_0 Q2_0").split()

PEERS = [
    ("ctpack 4 g32", "compressed-tensors", lambda n, k: ct_packed(n, k, 4, 32)),
    ("ctpack 4 g128", "compressed-tensors", lambda n, k: ct_packed(n, k, 4, 128)),
    ("ctpack 4 g32 asym", "compressed-tensors", lambda n, k: ct_packed(n, k, 4, 32, symmetric=False)),
    ("ctpack 8 g128", "compressed-tensors", lambda n, k: ct_packed(n, k, 8, 128)),
    ("ctint channel", "compressed-tensors", ct_int),
    ("fp8 channel", "compressed-tensors", lambda n, k: ct_fp8(n, k, strategy="channel")),
    ("fp8 128x128", "compressed-tensors",
     lambda n, k: ct_fp8(n, k, strategy="block", block_structure=[128, 128])),
    ("nvfp4 ct", "compressed-tensors", ct_nvfp4),
    ("nvfp4 modelopt", "modelopt", modelopt_nvfp4),
    ("mxfp4 ct", "compressed-tensors", ct_mxfp4),
    ("gptq 2 g128", "gptqmodel", lambda n, k: gptq(n, k, 2, 128)),
    ("gptq 3 g128", "gptqmodel", lambda n, k: gptq(n, k, 3, 128)),
    ("gptq 4 g128", "gptqmodel", lambda n, k: gptq(n, k, 4, 128)),
    ("gptq 4 g32 asym", "gptqmodel", lambda n, k: gptq(n, k, 4, 32)),
    ("gptq 4 act-order", "gptqmodel", lambda n, k: gptq(n, k, 4, 128, desc_act=True)),
    ("gptq 8 g128", "gptqmodel", lambda n, k: gptq(n, k, 8, 128)),
    ("awq 4 g128", "gptqmodel", lambda n, k: awq(n, k, 128)),
    ("aqlm 2x8", "aqlm", lambda n, k: aqlm(n, k, 2, 8)),
    ("aqlm 1x16", "aqlm", lambda n, k: aqlm(n, k, 1, 16)),
    ("tq3 2 g128", "turboquant", lambda n, k: tq3(n, k, 2, 128)),
    ("tq3 3 g128", "turboquant", lambda n, k: tq3(n, k, 3, 128)),
    ("tq3 4 g128", "turboquant", lambda n, k: tq3(n, k, 4, 128)),
] + [(t.lower(), "gguf-py", lambda n, k, t=t: gguf_type(n, k, t)) for t in GGUF_TYPES]


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--quick", action="store_true")
    args.add_argument("--only", default="")
    args.add_argument("--ggml", action="store_true")
    args, _ = args.parse_known_args()
    out = os.fdopen(REAL_STDOUT, "w")
    if args.ggml:
        print(ggml_folder(), file=out)
        return
    n, k = (128 if args.quick else 1024), 4096
    threads_set = False
    for label, peer, make in PEERS:
        if args.only not in label:
            continue
        try:
            if not threads_set and importlib.util.find_spec("torch"):
                import torch

                torch.set_num_threads(1)
                threads_set = True
            speed = best(make(n, k), n * k, args.quick)
        except Exception as e:  # whatever a peer raises, the others still count
            print(f"{label}: {peer}: {type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}", file=sys.stderr)
            continue
        print(f"{label}\t{peer}\t{speed:.4f}", file=out, flush=True)


main()
