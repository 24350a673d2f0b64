/* Hashing for AVX-512; empty where the compiler was not told to (no x86). */
#ifdef __AVX512F__
#define HASH_KERNELS glmq_hash_avx512
#include "hash_kernels.inc.c"
#else
typedef int glmq_no_avx512_hash; /* a C file holds at least one declaration */
#endif
