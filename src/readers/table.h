/* THE list of readers, one line each: X(symbol).  Order breaks ties of probe(). */
X(gguf)
X(awq)
X(gptq)
X(ct)
X(fp8)
X(bf16)
X(f16)
X(f32)
