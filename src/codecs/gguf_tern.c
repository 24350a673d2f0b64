/* The ternary and binary types of GGUF, decoded: see tern_block.h. */
#include "gguf_blocks.h"

GGUF_DECODED(tq1_0, TQ1_0, "ternary, 1.69 bits, one scale for 256 (GGUF; decoded only)")
GGUF_DECODED(tq2_0, TQ2_0, "ternary, 2.06 bits, one scale for 256 (GGUF; decoded only)")
GGUF_DECODED(q1_0, Q1_0, "binary, one scale for 128 (GGUF; decoded only)")
GGUF_DECODED(q2_0, Q2_0, "2-bit, one scale for 64 (GGUF; decoded only)")
