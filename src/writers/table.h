/* THE list of writers, one line each: X(symbol). */
X(same)
X(bf16)
X(f16)
X(f32)
X(gptq)
X(awq)
X(ct)
X(gguf)
