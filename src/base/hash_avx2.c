/* Hashing for AVX2; empty where the compiler was not told to (no x86). */
#ifdef __AVX2__
#define HASH_KERNELS glmq_hash_avx2
#include "hash_kernels.inc.c"
#else
typedef int glmq_no_avx2_hash; /* a C file holds at least one declaration */
#endif
