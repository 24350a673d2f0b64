/* Hashing as the compiler's default target has it. */
#define HASH_KERNELS glmq_hash_base
#include "hash_kernels.inc.c"
