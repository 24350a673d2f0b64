/* The instruction-set level.  Two threads that ask first at the same time compute the
 * same answer, so a relaxed atomic is enough. */
#include "base/cpu.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[ISA_LEVELS] = { "base", "avx2", "avx512" };

const char *glmq_isa_name(glmq_isa_level level)
{
    return names[level];
}

glmq_isa_level glmq_isa_of_machine(void)
{
#if defined(__x86_64__) && defined(__GNUC__)
    unsigned eax, ebx, ecx = 0, edx;
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2")) return ISA_BASE;
    /* cpuid leaf 1, ecx bit 29 is F16C, which older compilers cannot name. */
    __asm__("cpuid" : "=a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx) : "0"(1), "2"(0));
    (void)eax, (void)ebx, (void)edx;
    if (!(ecx >> 29 & 1)) return ISA_BASE;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return ISA_AVX512;
    return ISA_AVX2;
#else
    return ISA_BASE;
#endif
}

static glmq_isa_level choose(void)
{
    const glmq_isa_level best = glmq_isa_of_machine();
    const char *wish = getenv("GLMQ_ISA");
    for (int i = 0; wish && i < (int)best; i++)
        if (strcmp(wish, names[i]) == 0) return (glmq_isa_level)i;
    return best;
}

glmq_isa_level glmq_isa(void)
{
    static atomic_int chosen = -1;
    int level = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (level < 0) {
        level = (int)choose();
        atomic_store_explicit(&chosen, level, memory_order_relaxed);
    }
    return (glmq_isa_level)level;
}
