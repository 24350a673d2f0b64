/* A quantization config: the overrides of GPTQ and AutoRound, the schemes of compressed-tensors,
 * and what they say of some modules. */
#include "fuzz.h"
#include "readers/ct_config.h"
#include "readers/overrides.h"

static const char *const names[] = { "lm_head", "model.layers.3.mlp.experts.17.up_proj",
                                     "model.layers.10.self_attn.q_proj", "" };

static glmq_module module_of(const char *name)
{
    size_t len = 0;
    while (name[len]) len++;
    return (glmq_module){ .name = name, .name_len = len, .quantized = 1 };
}

static void try_overrides(const cJSON *q)
{
    const glmq_catalog cat = { 0 };
    glmq_overrides *o;
    glmq_override says;
    glmq_error err;

    if (glmq_overrides_open(&o, &cat, q, &err)) {
        if (!err.msg[0]) fuzz_broken("a refusal without a message");
        return;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const glmq_module m = module_of(names[i]);
        if (!glmq_overrides_of(o, &m, &says, NULL) && (says.group < -1 || says.group > UINT32_MAX))
            fuzz_broken("a group that is none");
    }
    glmq_overrides_close(o);
}

static void try_schemes(const cJSON *q)
{
    ct_config c;
    glmq_error err;

    if (ct_config_open(&c, q, &err)) {
        if (!err.msg[0]) fuzz_broken("a refusal without a message");
    } else {
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            const glmq_module m = module_of(names[i]);
            const ct_scheme *s;
            int yes;
            if (!ct_config_scheme(&c, &m, GLMQ_ROLE_OTHER, &s, NULL) && s &&
                (s < c.schemes || s >= c.schemes + c.count))
                fuzz_broken("a scheme of no group");
            ct_config_ignores(&c, &m, &yes, NULL);
        }
    }
    ct_config_close(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    cJSON *q;

    if (glmq_json_parse(&q, (const char *)data, len, 0, NULL)) return 0;
    try_overrides(q);
    try_schemes(q);
    cJSON_Delete(q);
    return 0;
}
