"""BF16 -> GGUF BF16 -> BF16 gives back every tensor's bytes; transformers reads the rebuilt config
to the same model, the rebuilt tokenizer gives the same ids, and the model computes the same."""
from common import *

need("safetensors", "torch", "transformers")
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

TEXT = ["Hello, world! 12345 of 67\n\n  def f(x):\treturn x's", "中文与 émojis 🎉, naïve café", "<|user|>\nhi<|assistant|>\n<think></think>",
        " leading and trailing ", "a\u0000b\r\n\r\nc", "ÀÉÎÕÜ ñ ß Ω ж ש ع 한 ｆｕｌｌ"]
FORWARD = ["hidden_size", "num_hidden_layers", "vocab_size", "num_attention_heads", "num_key_value_heads", "intermediate_size",
           "moe_intermediate_size", "n_routed_experts", "num_experts_per_tok", "n_shared_experts", "n_group", "topk_group", "norm_topk_prob",
           "routed_scaling_factor", "rms_norm_eps", "first_k_dense_replace", "mlp_layer_types", "q_lora_rank", "kv_lora_rank", "qk_nope_head_dim",
           "qk_rope_head_dim", "v_head_dim", "index_topk", "index_n_heads", "index_head_dim", "indexer_types", "attention_bias", "use_qk_norm",
           "num_nextn_predict_layers", "rope_parameters", "hidden_act", "tie_word_embeddings", "max_position_embeddings"]

c = Checks()
with scratch() as tmp:
    for name, src in checkpoints("glm47-bf16", "glm47flash-bf16", "glm5-bf16"):
        gguf = convert(src, f"{tmp}/{name}.gguf", "gguf:bf16")
        back = convert(gguf, f"{tmp}/{name}", "bf16")
        # outputs that tests keep beside a checkpoint are no part of it
        skip = ("logits", "mtp_logits")
        want = {}
        for p in shards(src):
            if not os.path.basename(p).startswith(skip):
                from safetensors import safe_open
                with safe_open(p, "pt") as f:
                    want.update({k: f.get_tensor(k) for k in f.keys()})
        have = tensors(back)
        c.that(want.keys() == have.keys(), f"{name}: names differ: {sorted(want.keys() ^ have.keys())[:4]}")
        for k in want:
            c.that(want[k].dtype == have[k].dtype and want[k].shape == have[k].shape, f"{name}: {k}: dtype or shape")
            c.that(want[k].view(torch.uint8).equal(have[k].view(torch.uint8)), f"{name}: {k}: bytes differ")
        a, b = AutoConfig.from_pretrained(src), AutoConfig.from_pretrained(back)
        c.that(type(a) is type(b), f"{name}: config class")
        for key in FORWARD:
            x, y = getattr(a, key, None), getattr(b, key, None)
            c.that(x == y, f"{name}: config {key}: {x} became {y}")
        ta, tb = AutoTokenizer.from_pretrained(src), AutoTokenizer.from_pretrained(back)
        for text in TEXT:
            c.that(ta.encode(text) == tb.encode(text), f"{name}: token ids of {text!r}: {ta.encode(text)} became {tb.encode(text)}")
        if ta.chat_template:
            chat = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
            c.that(ta.apply_chat_template(chat, tokenize=False) == tb.apply_chat_template(chat, tokenize=False), f"{name}: chat template")
        ids = torch.arange(7, 39)[None] % a.vocab_size
        out = [AutoModelForCausalLM.from_pretrained(d, dtype=torch.float32)(ids).logits for d in (src, back)]
        c.that(torch.equal(out[0], out[1]), f"{name}: logits differ")
c.end()
