/* Runs: what is written, proved, interrupted, resumed and refused. */
#include "convert_files.h"
#include "base/json.h"
#include "base/mem.h"
#include "models/graph.h"
#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

static char sample[1024];

/* A folder of its own per test, and paths in it. */
typedef struct place {
    char root[256], out[1024], other[1024], partial[1100];
} place;

static place place_make(void)
{
    place p;
    fresh_folder(p.root);
    /* a GGUF is named after its folder: so both have the same name */
    snprintf(p.out, sizeof p.out, "%s/a", p.root);
    assert_int_equal(mkdir(p.out, 0777), 0);
    snprintf(p.other, sizeof p.other, "%s/b", p.root);
    assert_int_equal(mkdir(p.other, 0777), 0);
    strcat(p.out, "/out");
    strcat(p.other, "/out");
    snprintf(p.partial, sizeof p.partial, "%s.partial", p.out);
    return p;
}

static void place_remove(const place *p)
{
    assert_int_equal(glmq_out_remove_tree(p->root, NULL), GLMQ_OK);
}

static int set_up(void **state)
{
    const char *samples = getenv("GLMQ_SAMPLES");
    (void)state;
    if (!samples) return -1;
    path_in(sample, samples, "glm4-moe-tiny");
    return 0;
}

static void copy_folder(const char *from, const char *to)
{
    char a[1024];
    struct dirent *e;
    DIR *d = opendir(from);
    assert_non_null(d);
    assert_int_equal(mkdir(to, 0777), 0);
    while ((e = readdir(d))) {
        char *data;
        size_t n;
        if (e->d_name[0] == '.') continue;
        path_in(a, from, e->d_name);
        data = slurp(a, &n);
        write_file(to, e->d_name, data, n);
        free(data);
    }
    closedir(d);
}

static void overwrite_bytes(const char *path, uint64_t off, const void *data, size_t n)
{
    const int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, n, (off_t)off), n);
    close(fd);
}

/* Where the first byte of a tensor's codes lies in its source. */
static glmq_span span_of(const char *src, const char *tensor, char file[1024])
{
    conversion c;
    const glmq_tensor *t;
    glmq_span span;
    assert_int_equal(conversion_open(&c, src, "bf16", NULL), GLMQ_OK);
    t = glmq_graph_find(c.graph, tensor);
    assert_non_null(t);
    span = t->part[0].span[GLMQ_SLOT_CODES];
    path_in(file, src, glmq_source_name(c.source, span.file));
    conversion_close(&c);
    return span;
}

/* ---- what is written ---- */

static void every_target_holds_the_values_that_its_manifest_says(void **state)
{
    static const char *const targets[] = { "same",
                                           "bf16",
                                           "f16",
                                           "f32",
                                           "gguf",
                                           "gguf:Q8_0",
                                           "gguf:Q4_0",
                                           "gguf:Q5_1",
                                           "gptq:group=32,bits=4",
                                           "gptq:group=32,bits=8,asym,v2",
                                           "compressed-tensors:int4,group=32",
                                           "compressed-tensors:int8,channel,asym" };
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(targets); i++) {
        place p = place_make();
        glmq_run_result r;
        glmq_error err;
        char hex[33];
        const glmq_status st = convert(sample, p.out, targets[i], NULL, NULL, &r, &err);
        if (st) printf("%s: %s\n", targets[i], err.msg);
        assert_int_equal(st, GLMQ_OK);
        digest_of(sample, hex);
        assert_string_equal(r.source_digest, hex);
        digest_of(p.out, hex);
        assert_string_equal(r.result_digest, hex);
        assert_false(glmq_out_exists(p.partial));
        place_remove(&p);
    }
}

static void threads_and_memory_do_not_change_a_byte(void **state)
{
    static const char *const targets[] = { "gguf:Q4_0", "gptq:group=32", "f32" };
    const glmq_plan_options one = { .jobs = 1 }, many = { .jobs = 8, .memory = 64u << 20 };
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(targets); i++) {
        place p = place_make();
        glmq_error err;
        assert_int_equal(convert(sample, p.out, targets[i], &one, NULL, NULL, &err), GLMQ_OK);
        assert_int_equal(convert(sample, p.other, targets[i], &many, NULL, NULL, &err), GLMQ_OK);
        assert_true(same_folder(p.out, p.other));
        place_remove(&p);
    }
}

static void direct_output_is_the_same_output(void **state)
{
    const glmq_run_options direct = { .direct = 1 };
    const glmq_plan_options shards = { .shard_size = 200000 };
    place p = place_make();
    glmq_error err;
    (void)state;
    assert_int_equal(convert(sample, p.out, "gptq:group=32", &shards, &direct, NULL, &err),
                     GLMQ_OK);
    assert_int_equal(convert(sample, p.other, "gptq:group=32", &shards, NULL, NULL, &err), GLMQ_OK);
    assert_true(same_folder(p.out, p.other));
    place_remove(&p);
}

/* array name -> XXH3 of its first piece, as a manifest has them. */
static cJSON *manifest_of(const char *folder)
{
    char path[1024], *text;
    size_t n;
    cJSON *root;
    glmq_error err;
    path_in(path, folder, "glmq-manifest.json");
    text = slurp(path, &n);
    assert_int_equal(glmq_json_parse(&root, text, n, 0, &err), GLMQ_OK);
    free(text);
    return root;
}

static void same_pieces(const char *a, const char *b)
{
    cJSON *x = manifest_of(a), *y = manifest_of(b);
    const cJSON *s, *t = glmq_json_get(y, "tensors")->child;
    size_t n = 0;
    for (s = glmq_json_get(x, "tensors")->child; s; s = s->next, t = t->next, n++) {
        const cJSON *p = glmq_json_get(s, "pieces")->child;
        assert_non_null(t);
        for (const cJSON *q = glmq_json_get(t, "pieces")->child; q; q = q->next, p = p->next) {
            assert_non_null(p);
            assert_string_equal(glmq_json_string(p, "array"), glmq_json_string(q, "array"));
            assert_string_equal(glmq_json_string(p, "xxh3"), glmq_json_string(q, "xxh3"));
        }
        assert_null(p);
    }
    assert_null(t);
    assert_true(n > 50);
    cJSON_Delete(x);
    cJSON_Delete(y);
}

static void integers_come_back_through_gguf_and_gptq(void **state)
{
    const char *fixtures = fixtures_or_skip();
    char from[1024], step[4][1024];
    place p = place_make();
    glmq_error err;
    (void)state;
    if (!fixtures) {
        place_remove(&p);
        skip();
    }
    path_in(from, fixtures, "glm47-compressed-tensors-g32");
    for (int i = 0; i < 4; i++) snprintf(step[i], sizeof step[i], "%s/step%d", p.root, i);
    assert_int_equal(convert(from, step[0], "same", NULL, NULL, NULL, &err), GLMQ_OK);
    assert_int_equal(convert(from, step[1], "gguf", NULL, NULL, NULL, &err), GLMQ_OK);
    assert_int_equal(convert(step[1], step[2], "gptq", NULL, NULL, NULL, &err), GLMQ_OK);
    assert_int_equal(convert(step[2], step[3], "compressed-tensors", NULL, NULL, NULL, &err),
                     GLMQ_OK);
    same_pieces(step[0], step[3]);
    place_remove(&p);
}

static void recode_forced_gives_errors_and_says_so(void **state)
{
    const char *fixtures = fixtures_or_skip();
    const glmq_plan_options never = { .transcode = GLMQ_TRANSCODE_NEVER };
    char from[1024];
    place p = place_make();
    glmq_run_result r;
    glmq_error err;
    (void)state;
    if (!fixtures) {
        place_remove(&p);
        skip();
    }
    path_in(from, fixtures, "glm47-compressed-tensors-g32");
    assert_int_equal(convert(from, p.out, "gguf:Q4_0", &never, NULL, &r, &err), GLMQ_OK);
    assert_true(r.tensors[GLMQ_RECODE] > 100);
    assert_int_equal(convert(from, p.other, "gguf:Q4_0", NULL, NULL, &r, &err), GLMQ_OK);
    assert_int_equal(r.tensors[GLMQ_RECODE], 0);
    assert_string_equal(r.source_digest, r.result_digest);
    place_remove(&p);
}

static void act_order_of_down_is_undone_without_loss(void **state)
{
    const char *fixtures = fixtures_or_skip();
    const glmq_plan_options undo = { .unpermute = 1 };
    glmq_source *a = NULL, *b = NULL;
    glmq_graph *ga = NULL, *gb = NULL;
    glmq_verify_result v;
    glmq_run_result r, plain;
    char from[1024];
    place p = place_make();
    glmq_error err;
    (void)state;
    if (!fixtures) {
        place_remove(&p);
        skip();
    }
    path_in(from, fixtures, "glm47flash-gptq-actorder");
    assert_int_equal(convert(from, p.other, "gptq", NULL, NULL, &plain, &err), GLMQ_OK);
    assert_int_equal(convert(from, p.out, "gptq", &undo, NULL, &r, &err), GLMQ_OK);
    assert_int_equal(r.tensors[GLMQ_RECODE], 0);
    assert_string_equal(plain.source_digest, r.source_digest);
    assert_string_not_equal(r.source_digest, r.result_digest);
    assert_int_equal(glmq_source_open(&a, from, NULL, &err), GLMQ_OK);
    assert_int_equal(glmq_graph_open(&ga, a, NULL, &err), GLMQ_OK);
    assert_int_equal(glmq_source_open(&b, p.out, NULL, &err), GLMQ_OK);
    assert_int_equal(glmq_graph_open(&gb, b, NULL, &err), GLMQ_OK);
    for (size_t i = 0; i < glmq_graph_count(gb); i++) {
        const glmq_tensor *t = glmq_graph_tensor(gb, i);
        if (t->role == GLMQ_ROLE_EXPERTS_DOWN)
            assert_int_not_equal(t->part[0].enc.act_order, GLMQ_ACT_ORDER);
    }
    /* the comparison finds the orders in the manifest and applies them */
    const glmq_verify_options values = { .level = GLMQ_VERIFY_VALUES };
    assert_int_equal(glmq_verify(ga, gb, &values, &v, &err), GLMQ_OK);
    assert_int_equal(v.exact, v.tensors);
    assert_true(v.max_abs == 0);
    glmq_graph_close(ga);
    glmq_graph_close(gb);
    glmq_source_close(a);
    glmq_source_close(b);
    place_remove(&p);
}

static void a_single_file_has_its_manifest_beside_it(void **state)
{
    place p = place_make();
    char file[1100], manifest[1200], partial[1200];
    glmq_error err;
    (void)state;
    snprintf(file, sizeof file, "%s.gguf", p.out);
    snprintf(manifest, sizeof manifest, "%s.glmq-manifest.json", file);
    snprintf(partial, sizeof partial, "%s.partial", file);
    assert_int_equal(convert(sample, file, "gguf", NULL, NULL, NULL, &err), GLMQ_OK);
    assert_true(glmq_out_exists(file));
    assert_true(glmq_out_exists(manifest));
    assert_false(glmq_out_exists(partial));
    path_in(partial, p.root, "a");
    assert_int_equal(count_files(partial), 2);
    assert_int_equal(convert(sample, file, "gguf", NULL, NULL, NULL, &err), GLMQ_E_EXISTS);
    place_remove(&p);
}

static void files_that_need_no_change_are_linked(void **state)
{
    const glmq_plan_options link = { .link = 1 };
    place p = place_make();
    char path[1100], shard[1100];
    struct stat a, b;
    glmq_error err;
    (void)state;
    assert_int_equal(convert(sample, p.out, "same", NULL, NULL, NULL, &err), GLMQ_OK);
    assert_int_equal(convert(p.out, p.other, "same", &link, NULL, NULL, &err), GLMQ_OK);
    path_in(shard, p.out, "model.safetensors");
    path_in(path, p.other, "model.safetensors");
    assert_int_equal(stat(shard, &a), 0);
    assert_int_equal(stat(path, &b), 0);
    assert_int_equal(a.st_ino, b.st_ino);
    assert_int_equal(a.st_nlink, 2);
    place_remove(&p);
}

/* ---- progress ---- */

typedef struct seen {
    int starts, tensors, shards, dones;
    uint64_t last;
    int stop_after; /* tensors; 0: never */
    volatile int cancel;
    const char *touch; /* a file to change at the start */
} seen;

static void watch(void *user, const glmq_progress *p)
{
    seen *s = user;
    assert_true(p->done_bytes >= s->last && p->done_bytes <= p->total_bytes);
    s->last = p->done_bytes;
    s->starts += p->event == GLMQ_RUN_START;
    s->tensors += p->event == GLMQ_RUN_TENSOR;
    s->shards += p->event == GLMQ_RUN_SHARD;
    s->dones += p->event == GLMQ_RUN_DONE;
    if (s->stop_after && s->tensors >= s->stop_after)
        __atomic_store_n(&s->cancel, 1, __ATOMIC_RELAXED);
    if (p->event == GLMQ_RUN_START && s->touch) {
        const struct timespec times[2] = { { 1000, 0 }, { 1000, 0 } };
        assert_int_equal(utimensat(AT_FDCWD, s->touch, times, 0), 0);
    }
}

static void progress_counts_every_tensor_and_shard(void **state)
{
    seen s = { 0 };
    const glmq_run_options opt = { .progress = watch, .user = &s };
    const glmq_plan_options small = { .shard_size = 100000, .jobs = 4 };
    place p = place_make();
    glmq_run_result r;
    glmq_error err;
    uint64_t tensors = 0;
    (void)state;
    assert_int_equal(convert(sample, p.out, "bf16", &small, &opt, &r, &err), GLMQ_OK);
    for (int i = 0; i < 5; i++) tensors += r.tensors[i];
    assert_int_equal(s.starts, 1);
    assert_int_equal(s.dones, 1);
    assert_int_equal(s.tensors, tensors);
    assert_true(s.shards > 3);
    place_remove(&p);
}

/* ---- interrupted ---- */

/* Converts until `after` tensors are done, then stops.  Returns how many the journal has. */
static int interrupt(const place *p, const char *to, int after)
{
    seen s = { .stop_after = after };
    const glmq_run_options opt = { .progress = watch, .user = &s, .cancel = &s.cancel };
    const glmq_plan_options one = { .jobs = 2 };
    char path[1200], *text;
    size_t n;
    int lines = 0;
    glmq_error err;
    assert_int_equal(convert(sample, p->out, to, &one, &opt, NULL, &err), GLMQ_E_CANCELLED);
    assert_false(glmq_out_exists(p->out));
    path_in(path, p->partial, "journal");
    text = slurp(path, &n);
    for (size_t i = 0; i < n; i++) lines += text[i] == '\n';
    free(text);
    return lines - 1;
}

static void a_stopped_run_goes_on_to_the_same_bytes(void **state)
{
    static const char *const targets[] = { "bf16", "gguf:Q4_0", "gptq:group=32" };
    const glmq_run_options resume = { .resume = 1 };
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(targets); i++) {
        place p = place_make();
        glmq_run_result r;
        glmq_error err;
        const int listed = interrupt(&p, targets[i], 20);
        assert_true(listed >= 20);
        assert_int_equal(convert(sample, p.out, targets[i], NULL, &resume, &r, &err), GLMQ_OK);
        assert_int_equal(r.resumed, listed);
        assert_int_equal(convert(sample, p.other, targets[i], NULL, NULL, NULL, &err), GLMQ_OK);
        assert_true(same_folder(p.out, p.other));
        place_remove(&p);
    }
}

static void what_lies_there_is_checked_and_not_trusted(void **state)
{
    const glmq_run_options resume = { .resume = 1 };
    place p = place_make();
    char path[1200];
    glmq_run_result r;
    glmq_error err;
    const int listed = interrupt(&p, "bf16", 30);
    (void)state;
    path_in(path, p.partial, "model.safetensors");
    for (uint64_t at = 60000; at < 400000; at += 5000) overwrite_bytes(path, at, "broken", 6);
    assert_int_equal(convert(sample, p.out, "bf16", NULL, &resume, &r, &err), GLMQ_OK);
    assert_true(r.resumed < (uint64_t)listed);
    assert_int_equal(convert(sample, p.other, "bf16", NULL, NULL, NULL, &err), GLMQ_OK);
    assert_true(same_folder(p.out, p.other));
    place_remove(&p);
}

static void a_torn_journal_loses_only_its_last_line(void **state)
{
    const glmq_run_options resume = { .resume = 1 };
    (void)state;
    for (int cut = 1; cut < 400; cut += 57) {
        place p = place_make();
        char path[1200];
        struct stat st;
        glmq_run_result r;
        glmq_error err;
        const int listed = interrupt(&p, "f32", 20);
        path_in(path, p.partial, "journal");
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(truncate(path, st.st_size - cut), 0);
        assert_int_equal(convert(sample, p.out, "f32", NULL, &resume, &r, &err), GLMQ_OK);
        assert_true(r.resumed < (uint64_t)listed && r.resumed + 4 >= (uint64_t)listed);
        place_remove(&p);
    }
}

static void a_journal_cut_to_nothing_starts_anew(void **state)
{
    const glmq_run_options resume = { .resume = 1 };
    (void)state;
    for (int keep = 0; keep < 48; keep += 15) {
        place p = place_make();
        char path[1200];
        glmq_run_result r;
        glmq_error err;
        interrupt(&p, "f32", 20);
        path_in(path, p.partial, "journal");
        assert_int_equal(truncate(path, keep), 0);
        assert_int_equal(convert(sample, p.out, "f32", NULL, &resume, &r, &err), GLMQ_OK);
        assert_int_equal(r.resumed, 0);
        place_remove(&p);
    }
}

static void another_plan_does_not_go_on_from_here(void **state)
{
    const glmq_run_options resume = { .resume = 1 };
    place p = place_make();
    glmq_error err;
    (void)state;
    interrupt(&p, "bf16", 20);
    assert_int_equal(convert(sample, p.out, "f32", NULL, &resume, NULL, &err), GLMQ_E_EXISTS);
    assert_non_null(strstr(err.msg, "had another plan"));
    assert_false(glmq_out_exists(p.out));
    place_remove(&p);
}

static void a_source_that_changed_since_does_not_go_on(void **state)
{
    seen s = { .stop_after = 20 };
    const glmq_run_options stop = { .progress = watch, .user = &s, .cancel = &s.cancel };
    const glmq_run_options resume = { .resume = 1 };
    const struct timespec times[2] = { { 5, 0 }, { 5, 0 } };
    place p = place_make();
    char source[1024], shard[1100];
    glmq_error err;
    (void)state;
    path_in(source, p.root, "source");
    copy_folder(sample, source);
    assert_int_equal(convert(source, p.out, "bf16", NULL, &stop, NULL, &err), GLMQ_E_CANCELLED);
    path_in(shard, source, "model-00001-of-00002.safetensors");
    assert_int_equal(utimensat(AT_FDCWD, shard, times, 0), 0);
    assert_int_equal(convert(source, p.out, "bf16", NULL, &resume, NULL, &err), GLMQ_E_EXISTS);
    assert_false(glmq_out_exists(p.out));
    place_remove(&p);
}

static void a_source_that_changes_meanwhile_is_an_error(void **state)
{
    place p = place_make();
    char source[1024], shard[1100];
    seen s = { .touch = shard };
    const glmq_run_options opt = { .progress = watch, .user = &s };
    glmq_error err;
    (void)state;
    path_in(source, p.root, "source");
    copy_folder(sample, source);
    path_in(shard, source, "model-00002-of-00002.safetensors");
    assert_int_equal(convert(source, p.out, "bf16", NULL, &opt, NULL, &err), GLMQ_E_IO);
    assert_false(glmq_out_exists(p.out));
    place_remove(&p);
}

/* ---- refused ---- */

static void what_exists_is_not_touched(void **state)
{
    place p = place_make();
    char path[1200], *text;
    size_t n;
    glmq_error err;
    (void)state;
    assert_int_equal(mkdir(p.out, 0777), 0);
    write_file(p.out, "mine", "keep", 4);
    assert_int_equal(convert(sample, p.out, "bf16", NULL, NULL, NULL, &err), GLMQ_E_EXISTS);
    assert_non_null(strstr(err.msg, "--overwrite"));
    assert_false(glmq_out_exists(p.partial));
    path_in(path, p.out, "mine");
    text = slurp(path, &n);
    assert_string_equal(text, "keep");
    free(text);
    place_remove(&p);
}

static void an_unfinished_run_is_not_started_over_by_accident(void **state)
{
    const glmq_run_options overwrite = { .overwrite = 1 };
    place p = place_make();
    glmq_run_result r;
    glmq_error err;
    (void)state;
    interrupt(&p, "bf16", 20);
    assert_int_equal(convert(sample, p.out, "bf16", NULL, NULL, NULL, &err), GLMQ_E_EXISTS);
    assert_non_null(strstr(err.msg, "--resume"));
    assert_int_equal(convert(sample, p.out, "bf16", NULL, &overwrite, &r, &err), GLMQ_OK);
    assert_int_equal(r.resumed, 0);
    place_remove(&p);
}

static void a_folder_that_is_no_run_is_not_resumed(void **state)
{
    const glmq_run_options resume = { .resume = 1 };
    place p = place_make();
    glmq_error err;
    (void)state;
    assert_int_equal(mkdir(p.partial, 0777), 0);
    write_file(p.partial, "mine", "keep", 4);
    assert_int_equal(convert(sample, p.out, "bf16", NULL, &resume, NULL, &err), GLMQ_E_EXISTS);
    place_remove(&p);
}

static void overwrite_replaces_only_at_the_end(void **state)
{
    const glmq_run_options overwrite = { .overwrite = 1 };
    place p = place_make();
    char path[1200];
    seen s = { .stop_after = 20 };
    const glmq_run_options stop = {
        .overwrite = 1, .progress = watch, .user = &s, .cancel = &s.cancel
    };
    glmq_error err;
    (void)state;
    assert_int_equal(mkdir(p.out, 0777), 0);
    write_file(p.out, "mine", "keep", 4);
    path_in(path, p.out, "mine");
    assert_int_equal(convert(sample, p.out, "bf16", NULL, &stop, NULL, &err), GLMQ_E_CANCELLED);
    assert_true(glmq_out_exists(path));
    assert_int_equal(convert(sample, p.out, "bf16", NULL, &overwrite, NULL, &err), GLMQ_OK);
    assert_false(glmq_out_exists(path));
    assert_int_equal(convert(sample, p.other, "bf16", NULL, NULL, NULL, &err), GLMQ_OK);
    assert_true(same_folder(p.out, p.other));
    path_in(path, p.root, "a");
    assert_int_equal(count_files(path), 1);
    place_remove(&p);
}

static void source_and_destination_must_not_meet(void **state)
{
    const glmq_run_options overwrite = { .overwrite = 1 };
    place p = place_make();
    char source[1024], inside[1100], alias[1100];
    glmq_error err;
    (void)state;
    path_in(source, p.root, "source");
    copy_folder(sample, source);
    path_in(inside, source, "below");
    path_in(alias, p.root, "alias");
    assert_int_equal(symlink(source, alias), 0);
    assert_int_equal(convert(source, source, "bf16", NULL, &overwrite, NULL, &err), GLMQ_E_ARG);
    assert_int_equal(convert(source, alias, "bf16", NULL, &overwrite, NULL, &err), GLMQ_E_ARG);
    assert_int_equal(convert(source, inside, "bf16", NULL, NULL, NULL, &err), GLMQ_E_ARG);
    assert_int_equal(convert(source, p.root, "bf16", NULL, &overwrite, NULL, &err), GLMQ_E_ARG);
    assert_true(same_folder(sample, source));
    place_remove(&p);
}

static void a_file_does_not_overwrite_its_own_source(void **state)
{
    const glmq_run_options overwrite = { .overwrite = 1 };
    place p = place_make();
    char file[1100], hard[1100];
    glmq_error err;
    (void)state;
    snprintf(file, sizeof file, "%s.gguf", p.out);
    snprintf(hard, sizeof hard, "%s.gguf", p.other);
    assert_int_equal(convert(sample, file, "gguf", NULL, NULL, NULL, &err), GLMQ_OK);
    assert_int_equal(link(file, hard), 0);
    assert_int_equal(convert(file, file, "gguf:Q8_0", NULL, &overwrite, NULL, &err), GLMQ_E_ARG);
    assert_int_equal(convert(file, hard, "gguf:Q8_0", NULL, &overwrite, NULL, &err), GLMQ_E_ARG);
    place_remove(&p);
}

static void two_runs_do_not_share_a_folder(void **state)
{
    const glmq_run_options resume = { .resume = 1 };
    place p = place_make();
    char path[1200];
    int fd;
    glmq_error err;
    (void)state;
    interrupt(&p, "bf16", 20);
    path_in(path, p.partial, "lock");
    assert_int_equal(glmq_out_lock(path, &fd, &err), GLMQ_OK);
    assert_int_equal(convert(sample, p.out, "bf16", NULL, &resume, NULL, &err), GLMQ_E_EXISTS);
    close(fd);
    assert_int_equal(convert(sample, p.out, "bf16", NULL, &resume, NULL, &err), GLMQ_OK);
    place_remove(&p);
}

/* ---- bad weights ---- */

static void weights_that_are_not_finite_are_named(void **state)
{
    static const char name[] = "model.layers.1.mlp.experts.0.up_proj.weight";
    static const uint8_t nan_bf16[2] = { 0xc0, 0x7f };
    place p = place_make();
    char source[1024], file[1024];
    glmq_span span;
    glmq_error err;
    (void)state;
    path_in(source, p.root, "source");
    copy_folder(sample, source);
    span = span_of(source, name, file);
    overwrite_bytes(file, span.offset + 6, nan_bf16, 2);
    assert_int_equal(convert(source, p.out, "gptq:group=32", NULL, NULL, NULL, &err),
                     GLMQ_E_FORMAT);
    assert_non_null(strstr(err.msg, name));
    assert_ptr_equal(strstr(err.msg, strrchr(file, '/') + 1), err.msg); /* the file comes first */
    assert_non_null(strstr(err.msg, "row 0, column 3 is not finite"));
    assert_false(glmq_out_exists(p.out));
    /* a copy is a copy */
    assert_int_equal(convert(source, p.other, "bf16", NULL, NULL, NULL, &err), GLMQ_OK);
    place_remove(&p);
}

static void floats_that_overflow_are_refused(void **state)
{
    static const char name[] = "model.layers.1.mlp.experts.0.up_proj.weight";
    static const uint8_t big[2] = { 0x80, 0x4f }; /* 2^32 */
    place p = place_make();
    char source[1024], file[1024];
    glmq_span span;
    glmq_error err;
    (void)state;
    path_in(source, p.root, "source");
    copy_folder(sample, source);
    span = span_of(source, name, file);
    overwrite_bytes(file, span.offset, big, 2);
    assert_int_equal(convert(source, p.out, "f16", NULL, NULL, NULL, &err), GLMQ_E_INEXACT);
    assert_non_null(strstr(err.msg, name));
    assert_non_null(strstr(err.msg, "row 0, column 0"));
    assert_false(glmq_out_exists(p.out));
    place_remove(&p);
}

static void scales_that_overflow_are_refused(void **state)
{
    static const uint8_t big[2] = { 0x80, 0x4f }; /* 2^32: fine in BF16, not in F16 */
    static const char name[] = "model.layers.1.mlp.experts.0.up_proj.weight";
    place p = place_make();
    char ints[1024], path[1100];
    conversion c;
    glmq_span span;
    glmq_error err;
    (void)state;
    path_in(ints, p.root, "ints");
    assert_int_equal(
        convert(sample, ints, "compressed-tensors:int4,group=32", NULL, NULL, NULL, &err), GLMQ_OK);
    assert_int_equal(conversion_open(&c, ints, "gptq", NULL), GLMQ_OK);
    span = glmq_graph_find(c.graph, name)->part[0].span[GLMQ_SLOT_SCALES];
    path_in(path, ints, glmq_source_name(c.source, span.file));
    conversion_close(&c);
    overwrite_bytes(path, span.offset, big, 2);
    assert_int_equal(convert(ints, p.out, "gptq", NULL, NULL, NULL, &err), GLMQ_E_INEXACT);
    assert_non_null(strstr(err.msg, name));
    assert_false(glmq_out_exists(p.out));
    place_remove(&p);
}

/* ---- the system fails ---- */

static void every_call_that_fails_leaves_nothing_that_looks_finished(void **state)
{
    const glmq_plan_options one = { .jobs = 1 };
    const glmq_run_options resume = { .resume = 1 };
    glmq_status st = GLMQ_E_IO;
    int failures = 0;
    place ref = place_make();
    glmq_error err;
    (void)state;
    assert_int_equal(convert(sample, ref.out, "gguf:Q8_0", &one, NULL, NULL, &err), GLMQ_OK);
    for (long n = 1; st; n += n / 12 + 1) {
        place p = place_make();
        conversion c;
        assert_int_equal(conversion_plan(&c, sample, "gguf:Q8_0", p.out, &one), GLMQ_OK);
        glmq_fail_alloc_at(n);
        st = glmq_run(c.plan, NULL, NULL, &err);
        glmq_fail_alloc_at(0);
        conversion_close(&c);
        if (st) {
            failures++;
            assert_true(st == GLMQ_E_IO || st == GLMQ_E_NOMEM);
            if (!glmq_out_exists(p.out)) /* else it was the commit's very last call */
                assert_int_equal(convert(sample, p.out, "gguf:Q8_0", &one, &resume, NULL, &err),
                                 GLMQ_OK);
        }
        assert_true(same_folder(ref.out, p.out));
        place_remove(&p);
    }
    assert_true(failures > 30);
    place_remove(&ref);
}

/* In a child: a file system of its own with `size` bytes at `at`.  77: not allowed to. */
static void mount_small(const char *at, const char *size)
{
    if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL)) _exit(77);
    if (mount("tmpfs", at, "tmpfs", 0, size)) _exit(77);
}

static int in_child(void (*f)(const place *), const place *p)
{
    int status;
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        f(p);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void convert_to_small_disk(const place *p)
{
    glmq_error err;
    char out[1024];
    mount_small(p->root, "size=300k");
    path_in(out, p->root, "out");
    if (convert(sample, out, "f32", NULL, NULL, NULL, &err) != GLMQ_E_IO) _exit(1);
    if (!strstr(err.msg, "bytes, ") || !strstr(err.msg, " are free")) _exit(2);
    if (glmq_out_exists(out)) _exit(3);
}

static void a_full_disk_is_told_before_the_start(void **state)
{
    place p = place_make();
    const int rc = in_child(convert_to_small_disk, &p);
    (void)state;
    place_remove(&p);
    if (rc == 77) {
        puts("skipped: may not mount");
        skip();
    }
    assert_int_equal(rc, 0);
}

/* A limit on file sizes fails a write in the middle, as a quota would. */
static void convert_under_a_limit(const place *p)
{
    const struct rlimit limit = { 400000, 400000 };
    glmq_error err;
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit)) _exit(77);
    if (convert(sample, p->out, "f32", NULL, NULL, NULL, &err) != GLMQ_E_IO) _exit(1);
    if (glmq_out_exists(p->out)) _exit(2);
}

static void a_write_that_fails_is_an_error_that_can_be_resumed(void **state)
{
    const glmq_run_options resume = { .resume = 1 };
    place p = place_make();
    glmq_error err;
    (void)state;
    assert_int_equal(in_child(convert_under_a_limit, &p), 0);
    assert_int_equal(convert(sample, p.out, "f32", NULL, &resume, NULL, &err), GLMQ_OK);
    place_remove(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_target_holds_the_values_that_its_manifest_says),
        cmocka_unit_test(threads_and_memory_do_not_change_a_byte),
        cmocka_unit_test(direct_output_is_the_same_output),
        cmocka_unit_test(integers_come_back_through_gguf_and_gptq),
        cmocka_unit_test(recode_forced_gives_errors_and_says_so),
        cmocka_unit_test(act_order_of_down_is_undone_without_loss),
        cmocka_unit_test(a_single_file_has_its_manifest_beside_it),
        cmocka_unit_test(files_that_need_no_change_are_linked),
        cmocka_unit_test(progress_counts_every_tensor_and_shard),
        cmocka_unit_test(a_stopped_run_goes_on_to_the_same_bytes),
        cmocka_unit_test(what_lies_there_is_checked_and_not_trusted),
        cmocka_unit_test(a_torn_journal_loses_only_its_last_line),
        cmocka_unit_test(a_journal_cut_to_nothing_starts_anew),
        cmocka_unit_test(another_plan_does_not_go_on_from_here),
        cmocka_unit_test(a_source_that_changed_since_does_not_go_on),
        cmocka_unit_test(a_source_that_changes_meanwhile_is_an_error),
        cmocka_unit_test(what_exists_is_not_touched),
        cmocka_unit_test(an_unfinished_run_is_not_started_over_by_accident),
        cmocka_unit_test(a_folder_that_is_no_run_is_not_resumed),
        cmocka_unit_test(overwrite_replaces_only_at_the_end),
        cmocka_unit_test(source_and_destination_must_not_meet),
        cmocka_unit_test(a_file_does_not_overwrite_its_own_source),
        cmocka_unit_test(two_runs_do_not_share_a_folder),
        cmocka_unit_test(weights_that_are_not_finite_are_named),
        cmocka_unit_test(floats_that_overflow_are_refused),
        cmocka_unit_test(scales_that_overflow_are_refused),
        cmocka_unit_test(every_call_that_fails_leaves_nothing_that_looks_finished),
        cmocka_unit_test(a_full_disk_is_told_before_the_start),
        cmocka_unit_test(a_write_that_fails_is_an_error_that_can_be_resumed),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
