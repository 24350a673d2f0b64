/* Tensors against each other: what engines fuse must have one global scale, and an indexer that
 * is stored twice was copied into layers that have none. */
#include "base/error.h"
#include "base/mem.h"
#include "base/num.h"
#include "check_parts.h"
#include "models/roles.h"
#include "readers/catalog.h"
#include <math.h>
#include <string.h>

static const char *file_of(const glmq_graph *g, const glmq_tensor *t)
{
    return glmq_source_name(glmq_graph_source(g), t->part[0].span[GLMQ_SLOT_CODES].file);
}

/* ---- global scales ---- */

typedef struct unequal {
    uint64_t groups, unequal;
    double worst;    /* ratio of the largest scale to the smallest                       */
    size_t worst_at; /* number of a tensor                                               */
} unequal;

/* One group, whose first member is tensor i. */
static void look_at_group(unequal *u, const glmq_graph *g, const glmq_checked *checked,
                          const glmq_fused *f, size_t i)
{
    const glmq_tensor *t = glmq_graph_tensor(g, i);
    float low = checked[i].global, high = low;

    for (int m = 1; m < f->count; m++) {
        const size_t k = glmq_graph_find_role(g, t->layer, f->role[m], t->expert);
        if (k == glmq_graph_count(g) || !checked[k].has_global) return;
        if (!(checked[k].global >= low)) low = checked[k].global;
        if (!(checked[k].global <= high)) high = checked[k].global;
    }
    u->groups++;
    if (low == high || !(low > 0)) return; /* a scale that is none has its own problem */
    const double ratio = (double)high / (double)low;
    if (!u->unequal++ || ratio > u->worst) {
        u->worst = ratio;
        u->worst_at = i;
    }
}

static glmq_status tell_unequal(glmq_check *c, const glmq_graph *g, const glmq_fused *f,
                                const unequal *u, glmq_error *err)
{
    const glmq_tensor *t;

    if (!u->unequal) return GLMQ_OK;
    t = glmq_graph_tensor(g, u->worst_at);
    if (glmq_check_add(c, GLMQ_WARNING, "global-scales-unequal", t->name, file_of(g, t),
                       "the global scales of %s differ in %" PRIu64 " of %" PRIu64
                       " places in layer %d, here by a factor of %.4g: engines fuse them and use "
                       "one for all",
                       f->what, u->unequal, u->groups, t->layer, u->worst))
        return glmq_fail(err, GLMQ_E_NOMEM, "list of problems");
    return GLMQ_OK;
}

/* One problem a layer and kind: a checkpoint can have ten thousand such pairs. */
static glmq_status check_globals(glmq_check *c, const glmq_graph *g, const glmq_checked *checked,
                                 glmq_error *err)
{
    const size_t n = glmq_graph_count(g);

    for (size_t i = 0; i < n;) {
        const glmq_tensor *t = glmq_graph_tensor(g, i);
        const glmq_fused *f = glmq_fused_first(t->role);
        unequal u = { 0 };
        size_t end = i + 1;

        while (f && end < n && glmq_graph_tensor(g, end)->role == t->role &&
               glmq_graph_tensor(g, end)->layer == t->layer)
            end++;
        for (; i < end; i++)
            if (f && checked[i].has_global) look_at_group(&u, g, checked, f, i);
        if (f) GLMQ_TRY(tell_unequal(c, g, f, &u, err));
    }
    return GLMQ_OK;
}

/* ---- indexers ---- */

static const glmq_role indexer[] = { GLMQ_ROLE_INDEXER_Q_B, GLMQ_ROLE_INDEXER_K,
                                     GLMQ_ROLE_INDEXER_K_NORM, GLMQ_ROLE_INDEXER_K_NORM_BIAS,
                                     GLMQ_ROLE_INDEXER_WEIGHTS };

int glmq_check_is_indexer(glmq_role role)
{
    for (size_t i = 0; i < GLMQ_COUNT(indexer); i++)
        if (indexer[i] == role) return 1;
    return 0;
}

/* Do two layers store the same indexer, value by value? */
static int same_indexer(const glmq_graph *g, const glmq_checked *checked, int32_t a, int32_t b)
{
    const size_t none = glmq_graph_count(g);

    for (size_t i = 0; i < GLMQ_COUNT(indexer); i++) {
        const size_t x = glmq_graph_find_role(g, a, indexer[i], -1),
                     y = glmq_graph_find_role(g, b, indexer[i], -1);
        if (x == none || y == none || !checked[x].hex[0] ||
            strcmp(checked[x].hex, checked[y].hex) != 0)
            return 0;
    }
    return 1;
}

static glmq_status check_indexers(glmq_check *c, const glmq_graph *g, const glmq_checked *checked,
                                  glmq_error *err)
{
    int32_t before = -1; /* the last layer with an indexer of its own                  */

    for (size_t i = 0; i < glmq_graph_count(g); i++) {
        const glmq_tensor *t = glmq_graph_tensor(g, i);
        if (t->role != GLMQ_ROLE_INDEXER_Q_B) continue;
        if (before < 0 || !same_indexer(g, checked, before, t->layer)) {
            before = t->layer;
            continue;
        }
        if (glmq_check_add(c, GLMQ_WARNING, "indexer-duplicated", t->name, file_of(g, t),
                           "layer %d stores the indexer of layer %d once more", t->layer, before))
            return glmq_fail(err, GLMQ_E_NOMEM, "list of problems");
    }
    return GLMQ_OK;
}

glmq_status glmq_check_model(glmq_check *c, const glmq_graph *g, const glmq_checked *checked,
                             glmq_error *err)
{
    GLMQ_TRY(check_globals(c, g, checked, err));
    return check_indexers(c, g, checked, err);
}
