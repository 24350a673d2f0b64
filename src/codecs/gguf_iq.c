/* The codebook types of GGUF, decoded: see iq_block.h. */
#include "gguf_blocks.h"

GGUF_DECODED(iq2_xxs, IQ2_XXS, "2.06 bits, 256 codebook entries (GGUF; decoded only)")
GGUF_DECODED(iq2_xs, IQ2_XS, "2.31 bits, 512 codebook entries (GGUF; decoded only)")
GGUF_DECODED(iq2_s, IQ2_S, "2.56 bits, 1024 codebook entries (GGUF; decoded only)")
GGUF_DECODED(iq3_xxs, IQ3_XXS, "3.06 bits, 256 codebook entries (GGUF; decoded only)")
GGUF_DECODED(iq3_s, IQ3_S, "3.44 bits, 512 codebook entries (GGUF; decoded only)")
GGUF_DECODED(iq1_s, IQ1_S, "1.56 bits, 2048 codebook entries (GGUF; decoded only)")
GGUF_DECODED(iq1_m, IQ1_M, "1.75 bits, 2048 codebook entries (GGUF; decoded only)")
GGUF_DECODED(iq4_nl, IQ4_NL, "4-bit, 16 fixed values, groups of 32 (GGUF; decoded only)")
GGUF_DECODED(iq4_xs, IQ4_XS, "4-bit, 16 fixed values, blocks of 256 (GGUF; decoded only)")
