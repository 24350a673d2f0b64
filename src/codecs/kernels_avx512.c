/* The hot loops for AVX-512; empty where the compiler was not told to (no x86). */
#ifdef __AVX512BW__
#define KERNELS glmq_kernels_avx512
#include "kernels.inc.c"
#else
typedef int glmq_no_avx512; /* a C file holds at least one declaration */
#endif
