/* The hot loops for AVX2; empty where the compiler was not told to (no x86). */
#ifdef __AVX2__
#define KERNELS glmq_kernels_avx2
#include "kernels.inc.c"
#else
typedef int glmq_no_avx2; /* a C file holds at least one declaration */
#endif
