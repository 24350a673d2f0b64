/* One module of four-bit floats: what its arrays say. */
#include "fp4_module.h"
#include "base/error.h"
#include "codecs/fp4.h"

/* Runtimes keep block scales padded to 128 rows and tiled; such dumps are no checkpoints. */
static glmq_status check_scales(const glmq_array *codes, const glmq_array *s, uint32_t group,
                                glmq_error *err)
{
    const uint64_t across = codes->dims[1] / (group / 2);

    if (s->rank != 2)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "%s: %d dimensions, expected 2: scales tiled for a kernel?", s->name,
                         s->rank);
    if (s->dims[0] == codes->dims[0] && s->dims[1] == across) return GLMQ_OK;
    return glmq_fail(err, GLMQ_E_FORMAT,
                     "%s: %" PRIu64 " x %" PRIu64 " scales, expected %" PRIu64 " x %" PRIu64
                     ": padded or tiled for a kernel?",
                     s->name, s->dims[0], s->dims[1], codes->dims[0], across);
}

static glmq_status check_codes(const glmq_module *m, const glmq_array *codes, int variant,
                               glmq_error *err)
{
    const glmq_dtype want = variant == FP4_INV ? GLMQ_DT_I8 : GLMQ_DT_U8;

    if (codes->dtype != want)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: dtype %s, expected %s", codes->name,
                         glmq_dtype_name((glmq_dtype)codes->dtype), glmq_dtype_name(want));
    if (codes->rank != 2)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: %d dimensions, expected 2", codes->name,
                         codes->rank);
    if (codes->dims[1] > INT32_MAX)
        return glmq_fail(err, GLMQ_E_LIMIT, "%s: %" PRIu64 " columns", codes->name, codes->dims[1]);
    if (m->slot[GLMQ_SLOT_SCALES]) return GLMQ_OK;
    return glmq_fail_missing(err, GLMQ_E_FORMAT, "%s: its block scales are missing", codes->name);
}

static glmq_status choose(const glmq_module *m, int variant, glmq_encoding *e, glmq_error *err)
{
    const glmq_array *s = m->slot[GLMQ_SLOT_SCALES], *global = m->slot[GLMQ_SLOT_GLOBAL];

    switch (s->dtype) {
    case GLMQ_DT_F8_E4M3: *e = fp4_nvfp4(variant); break;
    case GLMQ_DT_U8:
    case GLMQ_DT_F8_E8M0: *e = fp4_mxfp4(variant); break;
    default:
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: dtype %s, expected F8_E4M3, F8_E8M0 or U8",
                         s->name, glmq_dtype_name((glmq_dtype)s->dtype));
    }
    e->scale_dtype = s->dtype;
    if (fp4_global_of(e) == FP4_NO_GLOBAL || global) return GLMQ_OK;
    return glmq_fail_missing(err, GLMQ_E_FORMAT, "%.*s.%s is missing", (int)m->name_len, m->name,
                             variant == FP4_CT ? "weight_global_scale" : "weight_scale_2");
}

glmq_status glmq_hf_add_fp4(glmq_graph *g, const glmq_catalog *cat, const glmq_module *m,
                            const glmq_array *codes, int variant, glmq_error *err)
{
    const glmq_array *input = m->slot[GLMQ_SLOT_INPUT_SCALE];
    glmq_module whole = *m;
    glmq_encoding e;

    GLMQ_TRY(check_codes(m, codes, variant, err));
    GLMQ_TRY(choose(m, variant, &e, err));
    GLMQ_TRY(check_scales(codes, m->slot[GLMQ_SLOT_SCALES], e.group, err));
    if (input && (input->dtype != GLMQ_DT_F32 || input->bytes != sizeof(float)))
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: %s and %" PRIu64 " bytes, expected one F32",
                         input->name, glmq_dtype_name((glmq_dtype)input->dtype), input->bytes);
    whole.slot[GLMQ_SLOT_CODES] = codes;
    return glmq_hf_add_module(g, cat, &whole, &e, codes->dims[0], codes->dims[1] * 2, err);
}
