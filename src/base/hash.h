/* XXH3-128 in canonical form, and the digest of canonical values. */
#ifndef GLMQ_BASE_HASH_H
#define GLMQ_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

typedef struct glmq_hash glmq_hash; /* a running XXH3-128, seed 0 */

typedef struct glmq_digest {
    uint8_t bytes[16];
} glmq_digest; /* canonical (big-endian) */

glmq_hash *glmq_hash_new(void); /* NULL when out of memory */
void glmq_hash_reset(glmq_hash *h);
void glmq_hash_add(glmq_hash *h, const void *data, size_t len);
/* Adds n floats as little-endian F32 with -0 taken as +0 and every NaN as 7fc00000. */
void glmq_hash_add_values(glmq_hash *h, const float *w, size_t n);
glmq_digest glmq_hash_get(const glmq_hash *h);
void glmq_hash_free(glmq_hash *h);

glmq_digest glmq_hash_of(const void *data, size_t len);
void glmq_digest_hex(const glmq_digest *d, char hex[33]);
int glmq_digest_parse(const char *hex, glmq_digest *d); /* 0, or -1 */
int glmq_digest_equal(const glmq_digest *a, const glmq_digest *b);

/* Digest of a model: XXH3-128 of the lines NAME<TAB>HEX<LF> sorted by the bytes of
 * NAME.  Sorts `entries` in place. */
typedef struct glmq_digest_entry {
    const char *name;
    char hex[33];
} glmq_digest_entry;
glmq_digest glmq_digest_model(glmq_digest_entry *entries, size_t count);
#endif
