/* Open addressing with linear probing, at most 3/4 full, a power of two in size.  Slots
 * keep the hash, so that growing never touches the keys. */
#include "base/strmap.h"
#include "base/mem.h"
#include <string.h>
#include <xxhash.h>

struct strmap_slot {
    const char *key; /* NULL: free */
    size_t len;
    uint64_t hash, value;
};

/* The slot that holds the key, or the free one where it belongs. */
static struct strmap_slot *probe(const glmq_strmap *m, const char *key, size_t len, uint64_t hash)
{
    const size_t mask = m->capacity - 1;
    for (size_t i = (size_t)hash & mask;; i = (i + 1) & mask) {
        struct strmap_slot *s = &m->slots[i];
        if (!s->key) return s;
        if (s->hash == hash && s->len == len && memcmp(s->key, key, len) == 0) return s;
    }
}

static int grow(glmq_strmap *m)
{
    const size_t capacity = m->capacity ? m->capacity * 2 : 32;
    glmq_strmap wide = { .count = m->count, .capacity = capacity };
    wide.slots = glmq_alloc_zero(capacity, sizeof *wide.slots);
    if (!wide.slots) return -1;
    for (size_t i = 0; i < m->capacity; i++) {
        const struct strmap_slot *s = &m->slots[i];
        size_t j = (size_t)s->hash & (capacity - 1);
        if (!s->key) continue;
        while (wide.slots[j].key) j = (j + 1) & (capacity - 1);
        wide.slots[j] = *s;
    }
    glmq_free(m->slots);
    *m = wide;
    return 0;
}

int glmq_strmap_add(glmq_strmap *m, const char *key, size_t len, uint64_t value, uint64_t *old)
{
    const uint64_t hash = XXH3_64bits(key, len);
    struct strmap_slot *s;
    if (m->count >= m->capacity / 4 * 3 && grow(m)) return -1;
    s = probe(m, key, len, hash);
    if (s->key) {
        if (old) *old = s->value;
        return 0;
    }
    *s = (struct strmap_slot){ .key = key, .len = len, .hash = hash, .value = value };
    m->count++;
    return 1;
}

int glmq_strmap_get(const glmq_strmap *m, const char *key, size_t len, uint64_t *value)
{
    const struct strmap_slot *s;
    if (!m->count) return 0;
    s = probe(m, key, len, XXH3_64bits(key, len));
    if (!s->key) return 0;
    *value = s->value;
    return 1;
}

void glmq_strmap_free(glmq_strmap *m)
{
    glmq_free(m->slots);
    *m = (glmq_strmap){ 0 };
}
