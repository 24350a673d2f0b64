/* The hot loops as the compiler's default target has them: the oracle of the other levels. */
#define KERNELS glmq_kernels_base
#include "kernels.inc.c"
