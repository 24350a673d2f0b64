/* MXFP4 of GGUF, decoded: see fp4_block.h.  NVFP4 is no codec yet: its blocks are half of its
 * weights, the other half is the scale of the tensor, an array of its own. */
#include "gguf_blocks.h"

GGUF_DECODED(mxfp4, MXFP4, "4-bit floats, power-of-two scales, groups of 32 (GGUF; decoded only)")
