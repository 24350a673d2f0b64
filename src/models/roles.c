/* Roles: names and classes, from the public list. */
#include "roles.h"
#include "base/mem.h"
#include <string.h>

static const struct {
    const char *name;
    glmq_role_class class;
} roles[GLMQ_ROLE_COUNT] = {
#define X(e, word, c) [GLMQ_ROLE_##e] = { word, ROLE_##c },
    GLMQ_ROLES(X)
#undef X
};

const char *glmq_role_name(glmq_role role)
{
    return (unsigned)role < GLMQ_ROLE_COUNT ? roles[role].name : "unknown";
}

glmq_role_class glmq_role_class_of(glmq_role role)
{
    return (unsigned)role < GLMQ_ROLE_COUNT ? roles[role].class : ROLE_OTHER;
}

int glmq_role_find(const char *name, glmq_role *out)
{
    for (int i = 0; i < GLMQ_ROLE_COUNT; i++) {
        if (strcmp(roles[i].name, name) == 0) {
            *out = (glmq_role)i;
            return 1;
        }
    }
    return 0;
}

int glmq_role_is_matrix(glmq_role role)
{
    switch (glmq_role_class_of(role)) {
    case ROLE_TABLE:
    case ROLE_LINEAR:
    case ROLE_EXPERT:
    case ROLE_PROJECTION:
    case ROLE_ROUTER: return 1;
    default: return 0;
    }
}

/* ---- what is fused ---- */

static const glmq_fused fused[] = {
    { 3, { GLMQ_ROLE_ATTN_Q, GLMQ_ROLE_ATTN_K, GLMQ_ROLE_ATTN_V }, "q, k and v", "qkv_proj" },
    { 2, { GLMQ_ROLE_ATTN_Q_A, GLMQ_ROLE_ATTN_KV_A }, "q_a and kv_a", "fused_qkv_a_proj_with_mqa" },
    { 2, { GLMQ_ROLE_MLP_GATE, GLMQ_ROLE_MLP_UP }, "gate and up", "gate_up_proj" },
    { 2,
      { GLMQ_ROLE_SHARED_GATE, GLMQ_ROLE_SHARED_UP },
      "gate and up of the shared expert",
      "gate_up_proj" },
    { 2, { GLMQ_ROLE_EXPERTS_GATE, GLMQ_ROLE_EXPERTS_UP }, "gate and up", NULL },
};

const glmq_fused *glmq_fused_at(size_t i)
{
    return i < GLMQ_COUNT(fused) ? &fused[i] : NULL;
}

const glmq_fused *glmq_fused_first(glmq_role role)
{
    for (size_t i = 0; i < GLMQ_COUNT(fused); i++)
        if (fused[i].role[0] == role) return &fused[i];
    return NULL;
}
