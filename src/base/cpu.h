/* Which instruction-set level the hot loops use.  Chosen once, the same for the life of
 * the process; the environment variable GLMQ_ISA=base|avx2|avx512 lowers it. */
#ifndef GLMQ_BASE_CPU_H
#define GLMQ_BASE_CPU_H

typedef enum glmq_isa_level {
    ISA_BASE,   /* what the compiler targets by default          */
    ISA_AVX2,   /* AVX2 and F16C                                 */
    ISA_AVX512, /* the above and AVX-512 F, BW, DQ, VL           */
    ISA_LEVELS
} glmq_isa_level;

glmq_isa_level glmq_isa(void);
glmq_isa_level glmq_isa_of_machine(void);        /* the highest that would run here */
const char *glmq_isa_name(glmq_isa_level level); /* "base", "avx2", "avx512" */
#endif
