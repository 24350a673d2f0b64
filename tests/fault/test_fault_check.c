/* Opening a checkpoint with something wrong everywhere, and checking it, while every allocation
 * and every read fails in turn. */
#include "fault/torture.h"
#include "glmq/glmq.h"
#include "unit/model_files.h"
#include "verify/check.h"

static checkpoint model;

/* FP8 with one scale a row; the last one is 0. */
static void to_fp8(const char *name, int with_scale)
{
    const stored was = *find(&model, name);
    char scale[200];

    take_away(&model, name);
    memset(add(&model, "F8_E4M3", name, 2, was.dims[0], was.dims[1], 0)->data, 0x38, was.bytes / 2);
    snprintf(scale, sizeof scale, "%s_scale", name);
    if (!with_scale) return;
    stored *s = add(&model, "F32", scale, 2, was.dims[0], 1, 0);
    memset(s->data + s->bytes - 4, 0, 4);
}

static int make(void **state)
{
    (void)state;
    model = make_model(DSA, 2);
    edit_config(&model, "{",
                "{\"quantization_config\":{\"quant_method\":\"fp8\",\"ignore\":[\"nothing\","
                "\"re:.*nothing\",\"lm_*\"],\"dynamic\":{\"-:.*gate\":{}}},");
    to_fp8("model.layers.1.mlp.experts.0.up_proj.weight", 1);
    to_fp8("model.layers.1.mlp.experts.0.down_proj.weight", 0);
    take_away(&model, "model.layers.2.input_layernorm.weight");
    memset(find(&model, "lm_head.weight")->data, 0xff, 4);
    add_indexer(&model, 2);
    save(&model);
    return 0;
}

static int discard_it(void **state)
{
    (void)state;
    discard(&model);
    return 0;
}

static glmq_status check(glmq_error *err)
{
    const glmq_graph_options how = { .allow_incomplete = 1, .tolerate = 1 };
    const glmq_digest_options opt = { .jobs = 1 };
    glmq_source *src = NULL;
    glmq_graph *g = NULL;
    glmq_check c = { 0 };
    glmq_status st = glmq_source_open(&src, model.folder, NULL, err);

    if (!st) st = glmq_graph_open(&g, src, &how, err);
    if (!st) st = glmq_check_run(&c, g, &opt, err);
    assert_true(st || c.errors >= 4);
    glmq_check_free(&c);
    glmq_graph_close(g);
    glmq_source_close(src);
    return st;
}

static void checking_survives_every_failure(void **state)
{
    (void)state;
    torture(check, 100, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(checking_survives_every_failure, make, discard_it),
    };
    return cmocka_run_group_tests_name("faults of the check", tests, NULL, NULL);
}
