/* The digests of every fixture checkpoint against the lists that were made without glmq. */
#include "unit/fixture_list.h"
#include "models/graph.h"
#include "readers/catalog.h"
#include "verify/digest.h"
#include <dirent.h>
#include <inttypes.h>

typedef char hex_digest[33];

static size_t number_of(const glmq_graph *g, const char *name)
{
    const glmq_tensor *t = glmq_graph_find(g, name);
    size_t i = 0;

    if (!t) return SIZE_MAX;
    while (glmq_graph_tensor(g, i) != t) i++;
    return i;
}

/* Every line of the list, and no tensor that the list lacks. */
static void compare_list(const struct listed *f, const glmq_graph *g, const hex_digest *hex,
                         const char *model)
{
    char *text = listed_digests(f), *at = text, *name, *want;
    size_t lines = 0, digests = 0;

    while (next_digest(&at, &name, &want)) {
        if (strcmp(name, "model") == 0) {
            if (strcmp(model, want) != 0) fail_msg("%s: model %s, not %s", f->name, model, want);
            continue;
        }
        const size_t i = number_of(g, name);
        if (i == SIZE_MAX) fail_msg("%s: no %s", f->name, name);
        if (strcmp(hex[i], want) != 0)
            fail_msg("%s: %s: %s, expected %s", f->name, name, hex[i], want);
        lines++;
    }
    for (size_t i = 0; i < glmq_graph_count(g); i++) digests += hex[i][0] != '\0';
    assert_int_equal(digests, lines);
    assert_true(lines > 0);
    free(text);
}

static void every_fixture_has_the_digests_of_its_list(void **state)
{
    const glmq_digest_options opt = { 0 };

    (void)state;
    if (!fixtures_or_skip()) skip();
    for (size_t i = 0; i < GLMQ_COUNT(fixture_list); i++) {
        const struct listed *f = &fixture_list[i];
        hex_digest *hex, model;
        listed_open o;
        glmq_error err;

        if (!open_listed(f, &o)) continue;
        if (glmq_digest_tensors(o.g, &opt, &hex, model, &err)) fail_msg("%s", err.msg);
        compare_list(f, o.g, (const hex_digest *)hex, model);
        glmq_free(hex);
        close_listed(&o);
    }
}

/* A quantized tensor is one thing: whatever is stored belongs to one tensor, companions and all,
 * or is listed as dropped; what tensors share is divided among them. */
static void every_stored_byte_belongs_to_one_tensor(void **state)
{
    (void)state;
    if (!fixtures_or_skip()) skip();
    for (size_t i = 0; i < GLMQ_COUNT(fixture_list); i++) {
        uint64_t stored = 0, told = 0, dropped = 0, tensors;
        listed_open o;

        if (!open_listed(&fixture_list[i], &o)) continue;
        tensors = glmq_graph_count(o.g);
        for (size_t a = 0; a < o.g->catalog->count; a++) {
            stored += o.g->catalog->arrays[a].bytes;
            dropped += o.g->fate[a] == FATE_DROPPED ? o.g->catalog->arrays[a].bytes : 0;
        }
        for (size_t t = 0; t < tensors; t++) told += glmq_tensor_bytes(glmq_graph_tensor(o.g, t));
        if (told + dropped > stored || told + dropped + tensors < stored) /* shares round down */
            fail_msg("%s: %" PRIu64 " bytes stored, %" PRIu64 " told", fixture_list[i].name, stored,
                     told + dropped);
        close_listed(&o);
    }
}

/* Does the folder hold a checkpoint: a GGUF, or shards beside a config? */
static int is_checkpoint(const char *root, const char *name)
{
    int gguf = 0, shard = 0, config = 0;
    char path[1024];
    struct dirent *e;
    DIR *dir;

    snprintf(path, sizeof path, "%s/%s", root, name);
    dir = opendir(path);
    while (dir && (e = readdir(dir))) {
        const size_t len = strlen(e->d_name);
        gguf |= len > 5 && strcmp(e->d_name + len - 5, ".gguf") == 0;
        shard |= strncmp(e->d_name, "model", 5) == 0;
        config |= strcmp(e->d_name, "config.json") == 0;
    }
    if (dir) closedir(dir);
    return gguf || (shard && config);
}

static void no_fixture_is_without_a_list(void **state)
{
    const char *root = fixtures_or_skip();
    struct dirent *e;
    DIR *dir;

    (void)state;
    if (!root) skip();
    dir = opendir(root);
    assert_non_null(dir);
    while ((e = readdir(dir))) {
        size_t i = 0;
        if (e->d_name[0] == '.' || !is_checkpoint(root, e->d_name)) continue;
        while (i < GLMQ_COUNT(fixture_list) && strcmp(fixture_list[i].name, e->d_name)) i++;
        if (i == GLMQ_COUNT(fixture_list)) fail_msg("%s is in no list", e->d_name);
    }
    closedir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_fixture_has_the_digests_of_its_list),
        cmocka_unit_test(every_stored_byte_belongs_to_one_tensor),
        cmocka_unit_test(no_fixture_is_without_a_list),
    };
    return cmocka_run_group_tests_name("digests", tests, NULL, NULL);
}
