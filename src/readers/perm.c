/* Activation order, told from what is stored. */
#include "readers/perm.h"
#include "base/error.h"
#include "base/safe.h"

enum { CHUNK = 4096 }; /* entries read at a time */

/* Do entries [first, first + n) say what the order of columns says, or all -1? */
static void look(const uint8_t *p, uint64_t first, uint64_t n, uint64_t group, int *in_order,
                 int *unused)
{
    for (uint64_t i = 0; i < n; i++) {
        const int32_t g = (int32_t)load_le32(p + 4 * i);
        *in_order &= (int64_t)g == (int64_t)((first + i) / group);
        *unused &= g == -1;
    }
}

glmq_status glmq_perm_look(const glmq_catalog *cat, const glmq_array *g_idx, uint64_t cols,
                           uint32_t group, uint8_t *act_order, glmq_error *err)
{
    const uint64_t run = group ? group : cols;
    uint8_t chunk[4 * CHUNK];
    int in_order = 1, unused = 1;

    *act_order = g_idx ? GLMQ_ACT_ORDER : GLMQ_ACT_NONE;
    if (!g_idx || cols == 0 || g_idx->dtype != GLMQ_DT_I32 || g_idx->bytes / 4 != cols)
        return GLMQ_OK;
    for (uint64_t c = 0; c < cols && (in_order || unused); c += CHUNK) {
        const uint64_t n = cols - c < CHUNK ? cols - c : CHUNK;
        const glmq_status st = glmq_source_read(cat->source, g_idx->file, g_idx->offset + 4 * c,
                                                chunk, (size_t)n * 4, err);
        if (st) return glmq_within(err, st, "%s", g_idx->name);
        look(chunk, c, n, run, &in_order, &unused);
    }
    if (in_order || unused) *act_order = GLMQ_ACT_TRIVIAL;
    return GLMQ_OK;
}
