/* `same`: container and encoding of every tensor as the source has them.  A GGUF goes to
 * the GGUF writer, a Hugging Face folder keeps its quantization config to the byte; where
 * rules change encodings, the writer of the source's codec describes them anew. */
#include "base/error.h"
#include "base/mem.h"
#include "readers/catalog.h"
#include "writers/fp4_scales.h"
#include "writers/hf.h"
#include "writers/int_target.h"
#include "writers/layout.h"
#include "writers/writer.h"
#include <string.h>

/* Which writer can describe a codec's tensors in a new config. */
static const struct {
    const char *codec;
    const glmq_writer *writer;
} describes[] = {
    { "gptq", &glmq_writer_gptq },
    { "ctpack", &glmq_writer_ct },
};

static glmq_status same_target(glmq_target *t, const char *options, glmq_error *err)
{
    if (options && *options)
        return glmq_fail(err, GLMQ_E_ARG, "same takes no options, \"%s\" given", options);
    t->enc = (glmq_encoding){ 0 };
    t->file_type = -1;
    return GLMQ_OK;
}

static int from_gguf(const glmq_graph *g)
{
    return g->catalog->container == CONTAINER_GGUF;
}

static glmq_status same_choose(const glmq_target *t, const glmq_graph *g, const glmq_tensor *tensor,
                               glmq_want *want, glmq_error *err)
{
    if (from_gguf(g)) return glmq_writer_gguf.choose(t, g, tensor, want, err);
    if (want->kind != WANT_ENC)
        want->enc = glmq_tensor_quantized(tensor) ? tensor->part[0].enc : glmq_tensor_plain(tensor);
    return GLMQ_OK;
}

/* Does the target hold another encoding than the source somewhere? */
static int changed(const glmq_plan *p)
{
    for (size_t i = 0; i < p->graph->count; i++)
        if (!p->want[i].dropped &&
            !glmq_encoding_equal(&p->want[i].enc, &p->graph->tensors[i].part[0].enc))
            return 1;
    return 0;
}

/* The codec of the quantized tensors; NULL: none.  *mixed: there are several. */
static const glmq_codec *codec_of(const glmq_plan *p, int *mixed)
{
    const glmq_codec *codec = NULL;
    *mixed = 0;
    for (size_t i = 0; i < p->graph->count; i++) {
        const glmq_encoding *e = &p->want[i].enc;
        if (p->want[i].dropped || !e->codec || glmq_encoding_dtype(e) != GLMQ_DT_NONE) continue;
        *mixed |= codec && codec != e->codec;
        codec = e->codec;
    }
    return codec;
}

static const glmq_writer *describer(const glmq_codec *codec)
{
    for (size_t i = 0; i < GLMQ_COUNT(describes); i++)
        if (strcmp(describes[i].codec, glmq_codec_name(codec)) == 0) return describes[i].writer;
    return NULL;
}

static glmq_status same_fit(const glmq_plan *p, glmq_error *err)
{
    const glmq_codec *codec;
    int mixed;
    if (from_gguf(p->graph)) return glmq_writer_gguf.fit ? glmq_writer_gguf.fit(p, err) : GLMQ_OK;
    if (!changed(p)) return GLMQ_OK;
    codec = codec_of(p, &mixed);
    if (mixed)
        return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                         "rules and source make a mixture of codecs, %s "
                         "among them: one checkpoint has one",
                         glmq_codec_name(codec));
    if (codec && !describer(codec))
        return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                         "encodings of a %s checkpoint cannot be changed "
                         "under `same`",
                         glmq_codec_name(codec));
    return GLMQ_OK;
}

/* The source's own metadata, each key once. */
static glmq_status layout_as_source(glmq_plan *p, glmq_error *err)
{
    const glmq_catalog *cat = p->graph->catalog;
    glmq_st_meta *meta = glmq_arena_alloc(&p->arena, (cat->meta_count + 1) * sizeof *meta);
    glmq_fp4_scales scales;
    size_t n = 0;
    if (!meta) return glmq_fail(err, GLMQ_E_NOMEM, "%zu metadata keys", cat->meta_count);
    for (size_t i = 0; i < cat->meta_count; i++) {
        size_t k = 0;
        if (strcmp(cat->meta[i].key, "format") == 0 || !cat->meta[i].value ||
            strncmp(cat->meta[i].key, "glmq.nvfp4_", 11) == 0) /* of one shard: gathered anew */
            continue;
        while (k < n && strcmp(meta[k].key, cat->meta[i].key)) k++;
        if (k == n) meta[n++] = (glmq_st_meta){ cat->meta[i].key, cat->meta[i].value };
    }
    GLMQ_TRY(glmq_fp4_plan_scales(p, FP4_FOR_COPY, &scales, err));
    return glmq_fp4_layout(p, &scales, meta, n, err);
}

static glmq_status plan_changed(glmq_plan *p, glmq_error *err)
{
    int mixed;
    const glmq_codec *codec = codec_of(p, &mixed);
    if (codec) return describer(codec)->plan(p, err);
    GLMQ_TRY(glmq_hf_plan_tensors(p, err));
    GLMQ_TRY(layout_as_source(p, err));
    return glmq_hf_plan_side_files(p, &(glmq_hf_config){ .quant = HF_QUANT_NONE }, err);
}

/* kv_b stays split or whole. */
static void keep_mla(glmq_plan *p)
{
    for (size_t i = 0; i < p->graph->count; i++)
        if (p->graph->tensors[i].role == GLMQ_ROLE_ATTN_KV_B)
            p->options.mla = p->graph->tensors[i].parts > 1 ? GLMQ_MLA_SPLIT : GLMQ_MLA_FUSED;
}

static glmq_status same_plan(glmq_plan *p, glmq_error *err)
{
    if (from_gguf(p->graph)) {
        keep_mla(p);
        return glmq_writer_gguf.plan(p, err);
    }
    if (changed(p)) return plan_changed(p, err);
    GLMQ_TRY(glmq_hf_plan_tensors(p, err));
    GLMQ_TRY(layout_as_source(p, err));
    GLMQ_TRY(glmq_hf_plan_tq_config(p, err));
    return glmq_hf_plan_side_files(p, &(glmq_hf_config){ .quant = HF_QUANT_KEEP }, err);
}

const glmq_writer glmq_writer_same = {
    .name = "same",
    .about = "container and encoding of every tensor as the source has them",
    .options = "",
    .target = same_target,
    .choose = same_choose,
    .fit = same_fit,
    .plan = same_plan,
};
