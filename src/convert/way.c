#include "convert/way.h"
#include "codecs/transcode.h"
#include "convert/cuts.h"

/* Can stored bytes be copied row range by row range between these cuts? */
static int bytes_fit(const glmq_tensor *t, const glmq_part *from, const glmq_part *to,
                     const glmq_layout *l)
{
    if (!glmq_encoding_equal(&from->enc, &to->enc)) return 0;
    if (glmq_cut_equal(&from->cut, &to->cut)) return 1;
    if (!glmq_cut_is_whole(from, t->rows) || to->cut.transposed) return 0;
    for (int s = 0; s < GLMQ_SLOTS; s++)
        if (l->slot[s].dtype != GLMQ_DT_NONE && l->slot[s].stripe_rows != 1) return 0;
    return 1;
}

static int codes_fit(const glmq_tensor *t, const glmq_part *from, const glmq_part *to,
                     const glmq_layout *l)
{
    const glmq_cut *cut = &to->cut;
    glmq_layout source;

    if (!from->enc.codec->get_codes || !to->enc.codec->put_codes) return 0;
    if (glmq_cut_equal(&from->cut, cut)) return 1;
    if (!glmq_cut_is_whole(from, t->rows) || cut->transposed) return 0;
    if (from->enc.codec->layout(&from->enc, from->rows, from->cols, &source, NULL)) return 0;
    if (source.row_quantum <= 1 && l->row_quantum <= 1) return 1;
    return cut->stride % source.row_quantum == 0 && cut->first % source.row_quantum == 0 &&
           cut->count % l->row_quantum == 0;
}

glmq_choice glmq_way_choose(const glmq_plan *p, const glmq_item *it, uint8_t k,
                            const glmq_layout *l)
{
    const glmq_tensor *t = &p->graph->tensors[it->tensor];
    const glmq_part *from, *to = &it->part[k];
    glmq_choice c = { .way = WAY_VALUES };
    glmq_travel travel;
    char why[160];

    if (t->parts > 1 && t->parts != it->parts) return c;
    c.from = t->parts > 1 ? k : 0;
    from = &t->part[c.from];
    if (p->options.transcode == GLMQ_TRANSCODE_NEVER &&
        !(glmq_encoding_is_plain(&from->enc) && glmq_encoding_is_plain(&to->enc)))
        return c;
    travel = glmq_transcode_judge(from, to, why);
    if (travel == GLMQ_SAME_BYTES && bytes_fit(t, from, to, l)) {
        c.way = WAY_BYTES;
    } else if (travel < GLMQ_RECODE && codes_fit(t, from, to, l)) {
        c.way = WAY_CODES;
        c.near = travel == GLMQ_NEAR;
    }
    return c;
}
