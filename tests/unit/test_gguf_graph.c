/* GGUF -> graph: the arrays of a GGUF made here from a model's own tensors, so that what
 * comes back can be compared with what went in. */
#include "models/fetch.h"
#include "models/graph.h"
#include "readers/gguf_kv.h"
#include "unit/model_files.h"

/* ---- a GGUF out of a checkpoint's arrays (F32 only) ---- */

typedef struct {
    uint8_t data[1 << 20];
    size_t len;
    uint64_t count;
} blob;

static void put(blob *b, const void *p, size_t n)
{
    assert_true(b->len + n <= sizeof b->data);
    memcpy(b->data + b->len, p, n);
    b->len += n;
}

static void put64(blob *b, uint64_t v)
{
    put(b, &v, 8);
}

static void put32(blob *b, uint32_t v)
{
    put(b, &v, 4);
}

static void put_text(blob *b, const char *s)
{
    put64(b, strlen(s));
    put(b, s, strlen(s));
}

static void kv_u32(blob *b, const char *key, uint32_t v)
{
    put_text(b, key);
    put32(b, GGUF_U32);
    put32(b, v);
    b->count++;
}

static void kv_f32(blob *b, const char *key, float v)
{
    put_text(b, key);
    put32(b, GGUF_F32);
    put(b, &v, 4);
    b->count++;
}

static void kv_text(blob *b, const char *key, const char *v)
{
    put_text(b, key);
    put32(b, GGUF_STRING);
    put_text(b, v);
    b->count++;
}

typedef struct {
    const char *key;
    uint32_t v;
} number;

/* The metadata of model_files.h's GLM4 and LITE. */
static void put_metadata(blob *b, which model)
{
    static const number common[] = {
        { "block_count", 4 },
        { "nextn_predict_layers", 1 },
        { "context_length", 4096 },
        { "embedding_length", 32 },
        { "feed_forward_length", 48 },
        { "attention.head_count", 2 },
        { "expert_count", 4 },
        { "expert_used_count", 2 },
        { "expert_feed_forward_length", 16 },
        { "expert_shared_count", 1 },
        { "leading_dense_block_count", 1 },
        { "expert_gating_func", 2 },
        { "vocab_size", 64 },
        { "rope.dimension_count", 8 },
        { "attention.head_count_kv", 1 },
        { "attention.key_length", 16 },
        { "attention.value_length", 16 },
    };
    static const number mla[] = {
        { "attention.q_lora_rank", 24 },
        { "attention.kv_lora_rank", 8 },
        { "attention.key_length_mla", 16 },
        { "attention.value_length_mla", 10 },
    };
    const char *arch = model == GLM4 ? "glm4moe" : "deepseek2";
    char key[96];

    kv_text(b, "general.architecture", arch);
    kv_text(b, "tokenizer.ggml.model", "gpt2");
    kv_text(b, "tokenizer.ggml.pre", "glm4");
    kv_text(b, "glmq.scale_dtype", "BF16");
    for (size_t i = 0; i < sizeof common / sizeof *common; i++) {
        const int rope = strcmp(common[i].key, "rope.dimension_count") == 0;
        const int mla_length = model == LITE && strstr(common[i].key, "_length") &&
                               strncmp(common[i].key, "attention", 9) == 0;
        snprintf(key, sizeof key, "%s.%s", arch, common[i].key);
        if (!mla_length) kv_u32(b, key, rope && model == LITE ? 4 : common[i].v);
    }
    for (size_t i = 0; model == LITE && i < sizeof mla / sizeof *mla; i++) {
        snprintf(key, sizeof key, "%s.%s", arch, mla[i].key);
        kv_u32(b, key, mla[i].v);
    }
    snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", arch);
    kv_f32(b, key, 1e-5f);
    snprintf(key, sizeof key, "%s.rope.freq_base", arch);
    kv_f32(b, key, 1e6f);
}

/* Writes c's arrays, all F32 and under GGUF names, to <folder>/model.gguf. */
static void save_gguf(checkpoint *c, which model, char path[512])
{
    static blob kv, info, file;
    uint64_t offset = 0;

    kv.len = kv.count = info.len = file.len = 0;
    put_metadata(&kv, model);
    for (size_t i = 0; i < c->count; i++) {
        const stored *s = &c->at[i];

        put_text(&info, s->name);
        put32(&info, (uint32_t)s->rank);
        for (int d = s->rank; d-- > 0;) put64(&info, s->dims[d]);
        put32(&info, strcmp(s->dtype, "F32") == 0 ? 0 : 24); /* 24: I8 */
        put64(&info, offset);
        offset += (s->bytes + 31) / 32 * 32;
    }
    put(&file, "GGUF", 4);
    put32(&file, 3);
    put64(&file, c->count);
    put64(&file, kv.count);
    put(&file, kv.data, kv.len);
    put(&file, info.data, info.len);
    while (file.len % 32) put(&file, "", 1);
    for (size_t i = 0; i < c->count; i++) {
        put(&file, c->at[i].data, c->at[i].bytes);
        while (file.len % 32) put(&file, "", 1);
    }
    if (!c->folder[0]) fresh_folder(c->folder);
    snprintf(path, 512, "%s/model.gguf", c->folder);
    write_file(c->folder, "model.gguf", file.data, file.len);
}

static void discard_gguf(checkpoint *c, const char *path)
{
    unlink(path);
    discard(c);
}

/* ---- names, and arrays joined as a GGUF has them ---- */

static const char *const renames[][2] = {
    { "model.embed_tokens.weight", "token_embd.weight" },
    { "model.norm.weight", "output_norm.weight" },
    { "lm_head.weight", "output.weight" },
    { "input_layernorm.weight", "attn_norm.weight" },
    { "post_attention_layernorm.weight", "ffn_norm.weight" },
    { "self_attn.q_proj", "attn_q" },
    { "self_attn.k_proj", "attn_k" },
    { "self_attn.v_proj", "attn_v" },
    { "self_attn.o_proj", "attn_output" },
    { "self_attn.q_norm", "attn_q_norm" },
    { "self_attn.k_norm", "attn_k_norm" },
    { "self_attn.q_a_proj", "attn_q_a" },
    { "self_attn.q_a_layernorm", "attn_q_a_norm" },
    { "self_attn.q_b_proj", "attn_q_b" },
    { "self_attn.kv_a_proj_with_mqa", "attn_kv_a_mqa" },
    { "self_attn.kv_a_layernorm", "attn_kv_a_norm" },
    { "self_attn.kv_b_proj", "attn_kv_b" },
    { "mlp.shared_experts.gate_proj", "ffn_gate_shexp" },
    { "mlp.shared_experts.up_proj", "ffn_up_shexp" },
    { "mlp.shared_experts.down_proj", "ffn_down_shexp" },
    { "mlp.gate.e_score_correction_bias", "exp_probs_b.bias" },
    { "mlp.gate_proj", "ffn_gate" },
    { "mlp.up_proj", "ffn_up" },
    { "mlp.down_proj", "ffn_down" },
    { "mlp.gate.weight", "ffn_gate_inp.weight" },
    { "enorm", "nextn.enorm" },
    { "hnorm", "nextn.hnorm" },
    { "eh_proj", "nextn.eh_proj" },
    { "shared_head.norm", "nextn.shared_head_norm" },
};

static void rename_one(stored *s)
{
    char rest[160];
    int layer = -1, at = 0, expert;

    if (sscanf(s->name, "model.layers.%d.%n", &layer, &at) < 1) at = 0;
    snprintf(rest, sizeof rest, "%s", s->name + at);
    for (size_t i = 0; i < sizeof renames / sizeof *renames; i++) {
        const size_t n = strlen(renames[i][0]);

        if (strncmp(rest, renames[i][0], n) != 0) continue;
        if (layer < 0)
            snprintf(s->name, sizeof s->name, "%s", renames[i][1]);
        else
            snprintf(s->name, sizeof s->name, "blk.%d.%s%.100s", layer, renames[i][1], rest + n);
        return;
    }
    if (sscanf(rest, "mlp.experts.%d.%n", &expert, &at) == 1) { /* the very old names */
        const char *what = strncmp(rest + at, "gate", 4) == 0 ? "gate"
                           : strncmp(rest + at, "up", 2) == 0 ? "up"
                                                              : "down";
        snprintf(s->name, sizeof s->name, "blk.%d.ffn_%s.%d.weight", layer, what, expert);
        return;
    }
    fail_msg("no GGUF name for %s", s->name);
}

/* The model with distinct F32 values everywhere. */
static checkpoint f32_model(which model)
{
    checkpoint c = make_model(model, 4);
    uint32_t next = 1;

    for (size_t i = 0; i < c.count; i++) {
        stored *s = &c.at[i];
        strcpy(s->dtype, "F32");
        reshape(s, s->rank, s->dims[0], s->dims[1]);
        for (size_t k = 0; k < s->bytes / 4; k++) {
            const float v = (float)next++;
            memcpy(s->data + 4 * k, &v, 4);
        }
    }
    return c;
}

static checkpoint copy_of(const checkpoint *c)
{
    checkpoint d = { 0 };

    for (size_t i = 0; i < c->count; i++) {
        stored *s = add(&d, c->at[i].dtype, c->at[i].name, c->at[i].rank, c->at[i].dims[0],
                        c->at[i].dims[1], 0);
        memcpy(s->data, c->at[i].data, s->bytes);
    }
    return d;
}

/* All arrays under their GGUF names, none joined or split yet. */
static checkpoint renamed(const checkpoint *model, which m)
{
    checkpoint c = copy_of(model);

    for (size_t i = 0; i < c.count; i++) {
        rename_one(&c.at[i]);
        if (m == GLM4 && strstr(c.at[i].name, ".ffn_norm."))
            sprintf(strstr(c.at[i].name, ".ffn_norm."), ".post_attention_norm.weight");
    }
    return c;
}

/* Joins arrays (rows one after the other) into one of shape [count, rows, cols], or of rows
 * alone when count is 0; takes the old ones away. */
static void join(checkpoint *c, const char *const *names, size_t n, const char *to, uint64_t count)
{
    uint8_t *all = NULL;
    size_t bytes = 0;
    uint64_t rows = 0, cols = 0;
    int rank = 2;
    stored *s;

    for (size_t i = 0; i < n; i++) {
        s = find(c, names[i]);
        rank = s->rank;
        rows += s->rank == 2 ? s->dims[0] : 1;
        cols = s->rank == 2 ? s->dims[1] : cols + s->dims[0];
        all = realloc(all, bytes + s->bytes);
        assert_non_null(all);
        memcpy(all + bytes, s->data, s->bytes);
        bytes += s->bytes;
        take_away(c, names[i]);
    }
    if (count)
        s = add(c, "F32", to, 3, count, rows / count, cols);
    else
        s = rank == 2 ? add(c, "F32", to, 2, rows, cols, 0) : add(c, "F32", to, 1, cols, 0, 0);
    assert_int_equal(s->bytes, bytes);
    memcpy(s->data, all, bytes);
    free(all);
}

/* kv_b of a layer split as the converter does: k transposed per head, v as it is. */
static void split_kv_b(checkpoint *c, int layer)
{
    enum { HEADS = 2, NO = 12, VD = 10, RK = 8 };
    char name[64];
    float w[HEADS * (NO + VD) * RK];
    stored *k, *v;

    snprintf(name, sizeof name, "blk.%d.attn_kv_b.weight", layer);
    memcpy(w, find(c, name)->data, sizeof w);
    take_away(c, name);
    snprintf(name, sizeof name, "blk.%d.attn_k_b.weight", layer);
    add(c, "F32", name, 3, HEADS, RK, NO);
    snprintf(name, sizeof name, "blk.%d.attn_v_b.weight", layer);
    v = add(c, "F32", name, 3, HEADS, VD, RK);
    k = v - 1;
    for (int h = 0; h < HEADS; h++)
        for (int r = 0; r < NO + VD; r++)
            for (int i = 0; i < RK; i++) {
                const float x = w[(h * (NO + VD) + r) * RK + i];
                float *to = r < NO ? (float *)k->data + (h * RK + i) * NO + r
                                   : (float *)v->data + (h * VD + r - NO) * RK + i;
                memcpy(to, &x, sizeof x);
            }
}

/* ---- comparing ---- */

typedef struct {
    glmq_source *src;
    glmq_graph *g;
    glmq_status status;
    glmq_error err;
} opened;

static opened open_path(const char *path)
{
    opened o = { 0 };

    assert_int_equal(glmq_source_open(&o.src, path, NULL, &o.err), GLMQ_OK);
    o.status = glmq_graph_open(&o.g, o.src, NULL, &o.err);
    return o;
}

static void shut(opened *o)
{
    glmq_graph_close(o->g);
    glmq_source_close(o->src);
}

/* Every tensor of `model` comes out of the GGUF with its values, whole and in odd runs. */
static void must_hold(const char *path, const checkpoint *model)
{
    opened o = open_path(path);

    if (o.status) fail_msg("%s", o.err.msg);
    assert_int_equal(glmq_graph_count(o.g), model->count);
    for (size_t i = 0; i < model->count; i++) {
        const stored *s = &model->at[i];
        const glmq_tensor *t = glmq_graph_find(o.g, s->name);
        float w[T_V * T_H];

        if (!t) fail_msg("%s was lost", s->name);
        assert_int_equal(t->rank, s->rank);
        assert_int_equal(t->rows * t->cols * 4, s->bytes);
        assert_int_equal(glmq_tensor_decode(o.g, t, 0, t->rows, w, &o.err), GLMQ_OK);
        assert_memory_equal(w, s->data, s->bytes);
        for (uint64_t row = 0; row < t->rows; row += 5) {
            const uint64_t rows = t->rows - row < 7 ? t->rows - row : 7;
            assert_int_equal(glmq_tensor_decode(o.g, t, row, rows, w, &o.err), GLMQ_OK);
            assert_memory_equal(w, s->data + 4 * row * t->cols, 4 * rows * t->cols);
        }
    }
    assert_int_equal(o.g->source_scale_dtype, GLMQ_DT_BF16);
    shut(&o);
}

static void must_refuse(const char *path, glmq_status status, const char *words)
{
    opened o = open_path(path);

    if (o.status != status || !strstr(o.err.msg, words))
        fail_msg("%s: \"%s\", expected \"%s\"", glmq_status_name(o.status),
                 o.status ? o.err.msg : "", words);
    shut(&o);
}

/* ---- tests ---- */

static void reads_experts_stacked_fused_or_one_by_one(void **state)
{
    checkpoint model = f32_model(GLM4), c = renamed(&model, GLM4);
    char path[512];

    (void)state;
    for (int l = 1; l < 3; l++) { /* layer 3 keeps the old names */
        static const char *const kinds[] = { "gate", "up", "down" };
        const char *names[8];
        char text[8][64], to[64];
        size_t n = 0;

        for (int e = 0; l == 1 && e < 4; e++)
            for (int k = 0; k < 2; k++) {
                snprintf(text[n], sizeof text[n], "blk.%d.ffn_%s.%d.weight", l, kinds[k], e);
                names[n] = text[n];
                n++;
            }
        if (n) join(&c, names, n, "blk.1.ffn_gate_up_exps.weight", 4);
        for (int k = l == 1 ? 2 : 0; k < 3; k++) {
            for (int e = 0; e < 4; e++) {
                snprintf(text[e], sizeof text[e], "blk.%d.ffn_%s.%d.weight", l, kinds[k], e);
                names[e] = text[e];
            }
            snprintf(to, sizeof to, "blk.%d.ffn_%s_exps.weight", l, kinds[k]);
            join(&c, names, 4, to, 4);
        }
    }
    save_gguf(&c, GLM4, path);
    must_hold(path, &model);
    discard_gguf(&c, path);
    discard(&model);
}

static void reads_fused_qkv(void **state)
{
    static const char *const weights[] = { "blk.2.attn_q.weight", "blk.2.attn_k.weight",
                                           "blk.2.attn_v.weight" };
    static const char *const biases[] = { "blk.2.attn_q.bias", "blk.2.attn_k.bias",
                                          "blk.2.attn_v.bias" };
    checkpoint model = f32_model(GLM4), c = renamed(&model, GLM4);
    char path[512];

    (void)state;
    join(&c, weights, 3, "blk.2.attn_qkv.weight", 0);
    join(&c, biases, 3, "blk.2.attn_qkv.bias", 0);
    save_gguf(&c, GLM4, path);
    must_hold(path, &model);
    reshape(find(&c, "blk.2.attn_qkv.weight"), 2, 65, 32);
    save_gguf(&c, GLM4, path);
    must_refuse(path, GLMQ_E_FORMAT, "blk.2.attn_qkv.weight: 65 x 32, expected 64 x 32");
    discard_gguf(&c, path);
    discard(&model);
}

static void puts_kv_b_together_from_its_halves(void **state)
{
    checkpoint model = f32_model(LITE), c = renamed(&model, LITE);
    char path[512];

    (void)state;
    save_gguf(&c, LITE, path); /* fused everywhere */
    must_hold(path, &model);
    for (int l = 0; l < 3; l++) split_kv_b(&c, l); /* layer 3 stays fused */
    save_gguf(&c, LITE, path);
    must_hold(path, &model);
    take_away(&c, "blk.1.attn_v_b.weight");
    save_gguf(&c, LITE, path);
    must_refuse(path, GLMQ_E_FORMAT, "model.layers.1.self_attn.kv_b_proj.weight");
    discard_gguf(&c, path);
    discard(&model);
}

static void takes_the_whole_kv_b_where_both_are_stored(void **state)
{
    checkpoint model = f32_model(LITE), c = renamed(&model, LITE), whole;
    const stored *s;
    char path[512];
    opened o;

    (void)state;
    whole = copy_of(&c);
    split_kv_b(&c, 1);
    s = find(&whole, "blk.1.attn_kv_b.weight");
    memcpy(add(&c, "F32", s->name, 2, s->dims[0], s->dims[1], 0)->data, s->data, s->bytes);
    save_gguf(&c, LITE, path);
    must_hold(path, &model);
    o = open_path(path);
    assert_int_equal(glmq_graph_dropped_count(o.g), 2);
    shut(&o);
    discard(&whole);
    discard_gguf(&c, path);
    discard(&model);
}

static void tile_rows_keep_heads_whole(void **state)
{
    checkpoint model = f32_model(LITE), c = renamed(&model, LITE);
    const glmq_tensor *t;
    char path[512];
    opened o;

    (void)state;
    split_kv_b(&c, 0);
    save_gguf(&c, LITE, path);
    o = open_path(path);
    t = glmq_graph_find(o.g, "model.layers.0.self_attn.kv_b_proj.weight");
    assert_int_equal(t->parts, 2);
    assert_int_equal(t->part[0].cut.transposed, 1);
    assert_int_equal(glmq_tensor_tile_rows(t) % 22, 0);
    shut(&o);
    discard_gguf(&c, path);
    discard(&model);
}

static void names_the_type_that_it_cannot_read(void **state)
{
    checkpoint model = f32_model(GLM4), c = renamed(&model, GLM4);
    stored *s = find(&c, "output.weight");
    char path[512];

    (void)state;
    strcpy(s->dtype, "I8");
    s->rank = 2;
    s->dims[0] = 4;
    s->dims[1] = 256;
    s->bytes = 4 * 256;
    save_gguf(&c, GLM4, path);
    must_refuse(path, GLMQ_E_UNSUPPORTED, "output.weight: type I8");
    discard_gguf(&c, path);
    discard(&model);
}

static void refuses_scales_beside_tensors(void **state)
{
    checkpoint model = f32_model(GLM4), c = renamed(&model, GLM4);
    char path[512];

    (void)state;
    add(&c, "F32", "blk.1.attn_q.scale", 1, 1, 0, 0);
    save_gguf(&c, GLM4, path);
    must_refuse(path, GLMQ_E_UNSUPPORTED, "blk.1.attn_q.scale");
    discard_gguf(&c, path);
    discard(&model);
}

static void infers_what_metadata_does_not_say(void **state)
{
    checkpoint model = f32_model(GLM4), c = renamed(&model, GLM4);
    char path[512];
    opened o;

    (void)state;
    take_away(&c, "output.weight");
    save_gguf(&c, GLM4, path);
    o = open_path(path);
    if (o.status) fail_msg("%s", o.err.msg);
    assert_int_equal(o.g->hp->tied, 1);
    assert_int_equal(o.g->hp->attention_bias, 1);
    assert_int_equal(o.g->hp->qk_norm, 1);
    assert_int_equal(o.g->hp->layers, 3);
    assert_int_equal(o.g->hp->mtp_layers, 1);
    shut(&o);
    discard_gguf(&c, path);
    discard(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_experts_stacked_fused_or_one_by_one),
        cmocka_unit_test(reads_fused_qkv),
        cmocka_unit_test(puts_kv_b_together_from_its_halves),
        cmocka_unit_test(takes_the_whole_kv_b_where_both_are_stored),
        cmocka_unit_test(tile_rows_keep_heads_whole),
        cmocka_unit_test(names_the_type_that_it_cannot_read),
        cmocka_unit_test(refuses_scales_beside_tensors),
        cmocka_unit_test(infers_what_metadata_does_not_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
