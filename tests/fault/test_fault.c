/* Every allocation and every system call made to fail in turn: each run ends in a clean
 * error or in success, without a crash, and (under ASan) without a leak.  The last run is
 * the one in which nothing failed any more. */
#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "glmq/source.h"
#include "fault/torture.h"
#include "io/out.h"
#include "support.h"
#include <errno.h>

static char folder[256], sample[1024];

static const char json[] = "{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"BF16\","
                           "\"shape\":[2,2],\"data_offsets\":[0,8]},"
                           "\"k1\":1,\"k2\":2.5,\"k3\":3,\"k4\":4,\"k5\":5,\"k6\":6,\"k7\":7,"
                           "\"k8\":8,\"k9\":9,\"k10\":1,\"k11\":1,"
                           "\"k12\":1,\"k13\":1,\"k14\":1,\"k15\":1,\"k16\":1,\"\\u0041\":1}";

/* ---- what is made to fail ---- */

static glmq_status parse_json(glmq_error *err)
{
    cJSON *root;
    glmq_status st = glmq_json_parse(&root, json, sizeof json - 1, 0, err);
    assert_true((st == GLMQ_OK) == (root != NULL));
    cJSON_Delete(root);
    return st;
}

static glmq_status splice_json(glmq_error *err)
{
    glmq_text t = { 0 };
    glmq_status st;
    glmq_text_add_n(&t, json, sizeof json - 1);
    if (t.failed) {
        glmq_text_free(&t);
        return glmq_fail(err, GLMQ_E_NOMEM, "a text");
    }
    st = glmq_json_splice(&t, "k5", "{\"x\": 1}", err);
    if (!st) st = glmq_json_splice(&t, "new", "[]", err);
    if (!st) st = glmq_json_splice(&t, "k2", NULL, err);
    glmq_text_free(&t);
    return st;
}

static glmq_status read_source(glmq_error *err)
{
    char buf[64];
    glmq_source *s;
    glmq_status st = glmq_source_open(&s, sample, NULL, err);
    assert_true((st == GLMQ_OK) == (s != NULL));
    for (size_t i = 0; !st && i < glmq_source_count(s); i++) {
        glmq_source_prefetch(s, i, 0, 64);
        st = glmq_source_read(s, i, 0, buf, 64, err);
    }
    if (!st) st = glmq_source_unchanged(s, err);
    glmq_source_close(s);
    return st;
}

static glmq_status write_one(const char *path, glmq_error *err)
{
    char back[8];
    glmq_out *f;
    glmq_status st = glmq_out_open(&f, path, 4096, err);
    assert_true((st == GLMQ_OK) == (f != NULL));
    if (!st) st = glmq_out_write(f, 100, "8 bytes.", 8, err);
    if (!st) st = glmq_out_read(f, 100, back, 8, err);
    if (!st) st = glmq_out_sync(f, err);
    glmq_out_close(f);
    return st;
}

/* What a run does with the disk, in its order. */
static glmq_status write_folder(glmq_error *err)
{
    char partial[300], path[320], done[300];
    glmq_status st;
    int lock = -1;
    snprintf(partial, sizeof partial, "%s/out.partial", folder);
    snprintf(done, sizeof done, "%s/out", folder);
    st = glmq_out_mkdir(partial, err);
    snprintf(path, sizeof path, "%s/lock", partial);
    if (!st) st = glmq_out_lock(path, &lock, err);
    snprintf(path, sizeof path, "%s/data", partial);
    if (!st) st = write_one(path, err);
    snprintf(path, sizeof path, "%s/config.json", partial);
    if (!st) st = glmq_out_file(path, "{}", 2, err);
    if (!st) st = glmq_out_sync_dir(partial, err);
    if (!st) st = glmq_out_rename(partial, done, err);
    if (!st) st = glmq_out_sync_dir(folder, err);
    if (!st) st = glmq_out_remove_tree(done, err);
    if (lock >= 0) close(lock);
    return st;
}

/* ---- the torture ---- */

static void clean_up(void)
{
    char left[300];
    snprintf(left, sizeof left, "%s/out", folder); /* of a run that failed after its rename */
    assert_int_equal(glmq_out_remove_tree(left, NULL), GLMQ_OK);
}

static void parsing_json_survives_every_failure(void **state)
{
    (void)state;
    torture(parse_json, 5, NULL);
}

static void splicing_json_survives_every_failure(void **state)
{
    (void)state;
    torture(splice_json, 5, NULL);
}

static void reading_a_source_survives_every_failure(void **state)
{
    (void)state;
    if (!sample[0]) skip();
    torture(read_source, 40, NULL);
}

static void writing_an_output_survives_every_failure(void **state)
{
    (void)state;
    torture(write_folder, 20, clean_up);
}

/* cJSON's own allocations, too: its nodes come from the counted allocator here. */
static int count_cjson(void **state)
{
    cJSON_Hooks hooks = { glmq_alloc, glmq_free };
    (void)state;
    cJSON_InitHooks(&hooks);
    return 0;
}

static int uncount_cjson(void **state)
{
    (void)state;
    cJSON_InitHooks(NULL);
    return 0;
}

static int set_up(void **state)
{
    const char *samples = getenv("GLMQ_SAMPLES");
    (void)state;
    if (samples) snprintf(sample, sizeof sample, "%s/glm4-moe-tiny", samples);
    fresh_folder(folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return glmq_out_remove_tree(folder, NULL) ? -1 : 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parsing_json_survives_every_failure),
        cmocka_unit_test_setup_teardown(parsing_json_survives_every_failure, count_cjson,
                                        uncount_cjson),
        cmocka_unit_test(splicing_json_survives_every_failure),
        cmocka_unit_test(reading_a_source_survives_every_failure),
        cmocka_unit_test(writing_an_output_survives_every_failure),
    };
    return cmocka_run_group_tests_name("fault", tests, set_up, tear_down);
}
