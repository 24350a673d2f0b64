/* THE list of readers, one line each: X(symbol).  Order breaks ties of probe(). */
X(gguf)
X(gptq)
X(ct)
X(bf16)
X(f16)
X(f32)
