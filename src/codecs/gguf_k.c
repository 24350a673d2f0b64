/* The K-quants of GGUF, decoded: see k_block.h. */
#include "gguf_blocks.h"

GGUF_DECODED(q8_1, Q8_1, "8-bit, groups of 32 with their sums (GGUF; decoded only)")
GGUF_DECODED(q2_k, Q2_K, "2-bit K-quant with minima, groups of 16 (GGUF; decoded only)")
GGUF_DECODED(q3_k, Q3_K, "3-bit K-quant, groups of 16 (GGUF; decoded only)")
GGUF_DECODED(q4_k, Q4_K, "4-bit K-quant with minima, groups of 32 (GGUF; decoded only)")
GGUF_DECODED(q5_k, Q5_K, "5-bit K-quant with minima, groups of 32 (GGUF; decoded only)")
GGUF_DECODED(q6_k, Q6_K, "6-bit K-quant, groups of 16 (GGUF; decoded only)")
GGUF_DECODED(q8_k, Q8_K, "8-bit, one scale for 256 (GGUF; decoded only)")
