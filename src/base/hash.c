/* Digests: XXH3-128, seed 0, always in canonical (big-endian) form. */
#include "base/hash.h"
#include "base/cpu.h"
#include "base/fault.h"
#include "base/hash_kernels.h"
#include <stdlib.h>
#include <string.h>
#define XXH_STATIC_LINKING_ONLY /* the state on the stack, for glmq_digest_model */
#include <xxhash.h>

/* The state must be 64-byte aligned, so the library makes it; glmq_hash is its name. */
static XXH3_state_t *state_of(glmq_hash *h)
{
    return (XXH3_state_t *)(void *)h;
}

const glmq_hash_kernels *glmq_hash_kernels_at(glmq_isa_level level)
{
#ifdef __x86_64__
    if (level == ISA_AVX512) return &glmq_hash_avx512;
    if (level == ISA_AVX2) return &glmq_hash_avx2;
#endif
    (void)level;
    return &glmq_hash_base;
}

static const glmq_hash_kernels *kernels(void)
{
    return glmq_hash_kernels_at(glmq_isa());
}

static glmq_digest canonical(XXH128_hash_t value)
{
    glmq_digest d;
    XXH128_canonical_t c;
    XXH128_canonicalFromHash(&c, value);
    memcpy(d.bytes, c.digest, sizeof d.bytes);
    return d;
}

glmq_hash *glmq_hash_new(void)
{
    XXH3_state_t *s = glmq_fault() ? NULL : XXH3_createState();
    if (s) XXH3_128bits_reset(s);
    return (glmq_hash *)(void *)s;
}

void glmq_hash_reset(glmq_hash *h)
{
    XXH3_128bits_reset(state_of(h));
}

void glmq_hash_add(glmq_hash *h, const void *data, size_t len)
{
    if (len) kernels()->add(h, data, len);
}

void glmq_hash_add_values(glmq_hash *h, const float *w, size_t n)
{
    kernels()->add_values(h, w, n);
}

glmq_digest glmq_hash_get(const glmq_hash *h)
{
    return canonical(XXH3_128bits_digest((const XXH3_state_t *)(const void *)h));
}

void glmq_hash_free(glmq_hash *h)
{
    if (h) XXH3_freeState(state_of(h));
}

glmq_digest glmq_hash_of(const void *data, size_t len)
{
    return canonical(XXH3_128bits(data, len));
}

void glmq_digest_hex(const glmq_digest *d, char hex[33])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < sizeof d->bytes; i++) {
        hex[2 * i] = digits[d->bytes[i] >> 4];
        hex[2 * i + 1] = digits[d->bytes[i] & 15];
    }
    hex[32] = '\0';
}

static int nibble(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

int glmq_digest_parse(const char *hex, glmq_digest *d)
{
    for (size_t i = 0; i < sizeof d->bytes; i++) {
        const int high = nibble(hex[2 * i]);
        const int low = high < 0 ? -1 : nibble(hex[2 * i + 1]);
        if (low < 0) return -1;
        d->bytes[i] = (uint8_t)(high << 4 | low);
    }
    return hex[32] ? -1 : 0;
}

int glmq_digest_equal(const glmq_digest *a, const glmq_digest *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const glmq_digest_entry *)a)->name, ((const glmq_digest_entry *)b)->name);
}

glmq_digest glmq_digest_model(glmq_digest_entry *entries, size_t count)
{
    XXH3_state_t state;
    if (count) qsort(entries, count, sizeof *entries, by_name);
    XXH3_INITSTATE(&state);
    XXH3_128bits_reset(&state);
    for (size_t i = 0; i < count; i++) {
        XXH3_128bits_update(&state, entries[i].name, strlen(entries[i].name));
        XXH3_128bits_update(&state, "\t", 1);
        XXH3_128bits_update(&state, entries[i].hex, 32);
        XXH3_128bits_update(&state, "\n", 1);
    }
    return canonical(XXH3_128bits_digest(&state));
}
