"""llama.cpp loads what glmq writes and computes what the reference logits say, up to the KL
divergence that llama.cpp's own converter and quantizer reach on the same model."""
from common import *

need("numpy", "torch", "safetensors", "llama_cpp")
KL = os.path.join(FIXTURES, "make", "llama_logits.py")
if not os.path.exists(KL):
    print("skipped: no fixtures here")
    sys.exit(77)

# source, target, largest mean KL: BF16 and Q8_0 as llama.cpp's own files measure, with a little
# air; 4-bit ones against the same source's other forms (what 4 bits cost is the source's doing).
CASES = [
    ("glm47-bf16", "gguf:bf16", "glm47-bf16", 2e-6),
    ("glm47flash-bf16", "gguf:bf16", "glm47flash-bf16", 2e-6),
    ("glm5-bf16", "gguf:bf16", "glm5-bf16", 2e-6),
    ("glm47-bf16", "gguf:q8_0", "glm47-bf16", 2e-4),
    ("glm5-bf16", "gguf:q8_0", "glm5-bf16", 3e-4),
    ("glm47-compressed-tensors-g32", "gguf:auto", "glm47-bf16", 5e-2),
    ("glm47-compressed-tensors-g32", "gguf:q4_0", "glm47-bf16", 5e-2),
    ("glm47-compressed-tensors-g128", "gguf:auto", "glm47-bf16", 5e-2),
    ("glm47flash-gptq-actorder", "gguf:auto", "glm47flash-bf16", 5e-2),
    ("glm5-nvfp4-modelopt", "gguf:auto", "glm5-bf16", 3e-3),
    ("glm47flash-nvfp4-compressed-tensors", "gguf:auto", "glm47flash-bf16", 3e-3),
    ("glm47-bf16", "gguf:nvfp4", "glm47-bf16", 3e-3),
    ("glm47-bf16", "gguf:mxfp4", "glm47-bf16", 3e-3),
]
c = Checks()
with scratch() as tmp:
    for i, (src, to, ref, bound) in enumerate(CASES):
        gguf = convert(fixture(src), f"{tmp}/{i}.gguf", to)
        r = subprocess.run([sys.executable, KL, gguf, f"{fixture(ref)}/logits.safetensors"], capture_output=True, text=True)
        c.that(r.returncode == 0, f"{src} -> {to}: llama.cpp refuses it: {r.stdout}{r.stderr}")
        kl = json.loads(r.stdout.strip().splitlines()[-1])
        print(f"{src:34} {to:10} mean KL {kl['kl_mean']:.2e}  top-1 {kl['top1']:.3f}")
        c.that(kl["kl_mean"] <= bound, f"{src} -> {to}: mean KL {kl['kl_mean']} over {bound}")
    # Pruned to 6 experts: no reference logits, but it must load and give finite ones.
    gguf = convert(fixture("glm5-gptq-autoround-reap"), f"{tmp}/reap.gguf", "gguf:auto")
    r = subprocess.run([sys.executable, KL, gguf, f"{fixture('glm5-bf16')}/logits.safetensors"], capture_output=True, text=True)
    c.that(r.returncode == 0, f"pruned GPTQ -> GGUF: llama.cpp refuses it: {r.stdout}{r.stderr}")
c.end()
