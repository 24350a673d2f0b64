/* Overflow-checked size arithmetic and unaligned little-endian loads and stores.
 * The checked functions return 1 on overflow and leave *out alone then. */
#ifndef GLMQ_BASE_SAFE_H
#define GLMQ_BASE_SAFE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline int add_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    uint64_t r;
    if (__builtin_add_overflow(a, b, &r)) return 1;
    *out = r;
    return 0;
}

static inline int mul_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    uint64_t r;
    if (__builtin_mul_overflow(a, b, &r)) return 1;
    *out = r;
    return 0;
}

/* Rounds up to a multiple of a power of two. */
static inline int align_u64(uint64_t a, uint64_t to, uint64_t *out)
{
    uint64_t r;
    if (add_u64(a, to - 1, &r)) return 1;
    *out = r & ~(to - 1);
    return 0;
}

static inline uint64_t ceil_div_u64(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

/* Does [off, off + len) lie inside `size` bytes? */
static inline int in_range(uint64_t off, uint64_t len, uint64_t size)
{
    return off <= size && len <= size - off;
}

static inline uint16_t load_le16(const void *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint32_t load_le32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint64_t load_le64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void store_le16(void *p, uint16_t v)
{
    memcpy(p, &v, sizeof v);
}

static inline void store_le32(void *p, uint32_t v)
{
    memcpy(p, &v, sizeof v);
}

static inline void store_le64(void *p, uint64_t v)
{
    memcpy(p, &v, sizeof v);
}

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "glmq runs on little-endian machines only: all its formats are little-endian"
#endif
#endif
