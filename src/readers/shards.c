/* Which *.safetensors files of a folder are the checkpoint.
 *
 * 1. The files that the index names; without an index model.safetensors; without that all.
 * 2. Of the files left over, those that bring only names which belong to the model and which
 *    the shards lack (an mtp.safetensors that the index forgot).  The others are reported.
 * 3. Every name that the index promises must then be there.  In another file than it says:
 *    the index is stale, which is reported.
 *
 * A name in two shards lies where the index says. */
#include "base/error.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/safe.h"
#include "readers/catalog.h"
#include "readers/safetensors.h"
#include <stdio.h>
#include <stdlib.h>

static const char index_name[] = "model.safetensors.index.json";

/* A file that the index names. */
typedef struct named {
    const char *name;
    long file;        /* in the source, or -1                            */
    uint64_t lacking; /* names that it should hold and that are nowhere  */
    const char *first;
} named;

typedef struct shards {
    glmq_catalog *cat;
    uint32_t *left; /* candidates that are no shards yet, in the source's order */
    size_t left_count;
    uint32_t *taken; /* shards                                                   */
    size_t taken_count;

    cJSON *index;     /* NULL: none, or ignored                                   */
    const cJSON *map; /* its weight_map                                           */
    named *files;
    size_t file_count, file_capacity;
    glmq_strmap file_by_name;
    glmq_strmap home; /* array name -> number in `files`                          */

    glmq_strmap stems; /* modules that the arrays of the catalog belong to         */
    size_t stemmed;    /* arrays whose stems are in it                             */
} shards;

static glmq_status no_memory(glmq_error *err)
{
    return glmq_fail(err, GLMQ_E_NOMEM, "shards");
}

/* ---- candidates ---- */

/* Files that a format keeps beside its shards: under names of their own, or named in the
 * config. */
static const char *const by_role[] = { "vq_codebooks.safetensors" };

int glmq_catalog_has_role(const glmq_catalog *cat, const char *name)
{
    const char *stated = glmq_json_string(cat->quant, "vq.codebooks_file");

    if (!stated) stated = glmq_catalog_text(cat, "vq.codebooks_file");
    for (size_t i = 0; i < GLMQ_COUNT(by_role); i++)
        if (strcmp(name, by_role[i]) == 0) return 1;
    return stated && strcmp(name, stated) == 0;
}

static glmq_status find_candidates(shards *s, glmq_error *err)
{
    const glmq_source *src = s->cat->source;
    const size_t count = glmq_source_count(src);
    s->left = glmq_alloc_zero(count, sizeof *s->left);
    s->taken = glmq_alloc_zero(count, sizeof *s->taken);
    if (!s->left || !s->taken) return no_memory(err);
    for (size_t i = 0; i < count; i++) {
        const char *name = glmq_source_name(src, i);
        if (glmq_source_is_file(src) ||
            (glmq_ends_with(name, ".safetensors") && !glmq_catalog_has_role(s->cat, name)))
            s->left[s->left_count++] = (uint32_t)i;
    }
    return GLMQ_OK;
}

/* ---- the index ---- */

static glmq_status check_file_name(const char *name, glmq_error *err)
{
    if (strchr(name, '/') || strchr(name, '\\') || strstr(name, ".."))
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: \"%.200s\" is no plain file name", index_name,
                         name);
    if (!glmq_ends_with(name, ".safetensors"))
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: \"%.200s\" is no .safetensors file", index_name,
                         name);
    return GLMQ_OK;
}

/* The number of a file name in `files`; entered when it is new. */
static glmq_status name_file(shards *s, const char *name, uint64_t *number, glmq_error *err)
{
    if (glmq_strmap_get(&s->file_by_name, name, strlen(name), number)) return GLMQ_OK;
    GLMQ_TRY(check_file_name(name, err));
    if (s->file_count == GLMQ_FILES_MAX)
        return glmq_fail(err, GLMQ_E_LIMIT, "%s: more than %d files", index_name, GLMQ_FILES_MAX);
    if (s->file_count == s->file_capacity) {
        const size_t capacity = s->file_capacity ? s->file_capacity * 2 : 64;
        named *wide = glmq_realloc(s->files, capacity * sizeof *wide);
        if (!wide) return no_memory(err);
        s->files = wide;
        s->file_capacity = capacity;
    }
    *number = s->file_count;
    s->files[s->file_count++] =
        (named){ .name = name, .file = glmq_source_find(s->cat->source, name) };
    if (glmq_strmap_add(&s->file_by_name, name, strlen(name), *number, NULL) < 0)
        return no_memory(err);
    return GLMQ_OK;
}

static glmq_status map_names(shards *s, glmq_error *err)
{
    const char *last = NULL;
    uint64_t number = 0;
    for (const cJSON *m = s->map->child; m; m = m->next) {
        const char *file = cJSON_GetStringValue(m);
        if (!file)
            return glmq_fail(err, GLMQ_E_FORMAT, "%s: the file of %.200s is no string", index_name,
                             m->string);
        if (!last || strcmp(file, last)) GLMQ_TRY(name_file(s, file, &number, err));
        last = file;
        if (glmq_strmap_add(&s->home, m->string, strlen(m->string), number, NULL) < 0)
            return no_memory(err);
    }
    return GLMQ_OK;
}

static glmq_status load_index(shards *s, glmq_error *err)
{
    char *text = NULL;
    size_t len = 0;
    glmq_status st = glmq_catalog_side_file(s->cat->source, index_name, &text, &len, err);
    if (st || !text) return st;
    st = glmq_json_parse(&s->index, text, len, 0, err);
    glmq_free(text);
    if (st) return glmq_within(err, st, "%s", index_name);
    s->map = cJSON_GetObjectItemCaseSensitive(s->index, "weight_map");
    if (!cJSON_IsObject(s->index) || !cJSON_IsObject(s->map))
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: no weight_map", index_name);
    return map_names(s, err);
}

static void forget_index(shards *s)
{
    cJSON_Delete(s->index);
    glmq_free(s->files);
    glmq_strmap_free(&s->file_by_name);
    glmq_strmap_free(&s->home);
    s->index = NULL;
    s->files = NULL;
    s->map = NULL;
    s->file_count = s->file_capacity = 0;
}

/* A TurboQuant folder may still have the index of what it was made from: it names none of
 * the packed arrays, and its writer's own loader never reads it. */
static glmq_status drop_foreign_index(shards *s, glmq_error *err)
{
    if (!s->index || glmq_source_find(s->cat->source, "tq_config.json") < 0) return GLMQ_OK;
    for (const cJSON *m = s->map->child; m; m = m->next)
        if (glmq_ends_with(m->string, ".tq_packed")) return GLMQ_OK;
    forget_index(s);
    if (glmq_catalog_note(s->cat, GLMQ_WARNING, "index-stale", NULL, index_name,
                          "names no .tq_packed array: it is the index of another checkpoint, "
                          "and ignored"))
        return no_memory(err);
    return GLMQ_OK;
}

/* Is this where the index puts the name?  -1: the index does not know the name. */
static int is_home(const shards *s, const char *name, uint32_t file)
{
    uint64_t number;
    if (!glmq_strmap_get(&s->home, name, strlen(name), &number)) return -1;
    return s->files[number].file == (long)file;
}

/* ---- shards into the catalog ---- */

static glmq_status keep_meta(glmq_catalog *cat, const glmq_st_header *h, glmq_error *err)
{
    glmq_meta *wide;
    if (!h->meta_count) return GLMQ_OK;
    wide = glmq_realloc(cat->meta, (cat->meta_count + h->meta_count) * sizeof *wide);
    if (!wide) return no_memory(err);
    cat->meta = wide;
    for (size_t i = 0; i < h->meta_count; i++) {
        const glmq_meta *m = &h->meta[i];
        const char *key = glmq_arena_strdup(&cat->arena, m->key);
        const char *value = glmq_arena_strdup(&cat->arena, m->value);
        if (!key || !value) return no_memory(err);
        wide[cat->meta_count++] = (glmq_meta){ key, value, m->file };
    }
    return GLMQ_OK;
}

/* Adds an array, or lets the index choose between it and one of the same name. */
static glmq_status add_array(shards *s, const glmq_array *a, size_t *twice, glmq_error *err)
{
    const glmq_array *old = glmq_catalog_find(s->cat, a->name, strlen(a->name));
    const char *name;
    uint64_t *dims;
    if (!old || is_home(s, a->name, a->file) + is_home(s, a->name, old->file) != 1)
        return glmq_catalog_add(s->cat, a, err); /* refuses what it has */
    ++*twice;
    if (is_home(s, a->name, old->file)) return GLMQ_OK;
    name = old->name;
    dims = glmq_arena_alloc(&s->cat->arena, a->rank * sizeof *dims);
    if (a->rank && !dims) return no_memory(err);
    if (a->rank) memcpy(dims, a->dims, a->rank * sizeof *dims);
    s->cat->arrays[old - s->cat->arrays] = *a;
    s->cat->arrays[old - s->cat->arrays].name = name;
    s->cat->arrays[old - s->cat->arrays].dims = dims;
    return GLMQ_OK;
}

static glmq_status add_header(shards *s, const glmq_st_header *h, uint32_t file, glmq_error *err)
{
    const char *file_name = glmq_source_name(s->cat->source, file), *unnamed = NULL;
    size_t twice = 0, unnamed_count = 0;
    for (size_t i = 0; i < h->count; i++) {
        const glmq_array *a = &h->arrays[i];
        GLMQ_TRY(add_array(s, a, &twice, err));
        if (is_home(s, a->name, file) >= 0) continue;
        if (!unnamed_count++) unnamed = a->name;
    }
    GLMQ_TRY(keep_meta(s->cat, h, err));
    s->taken[s->taken_count++] = file;
    if (twice &&
        glmq_catalog_note(s->cat, GLMQ_WARNING, "duplicate-array", NULL, file_name,
                          "%zu arrays are also in another shard; the index decides", twice))
        return no_memory(err);
    if (s->index && unnamed_count &&
        glmq_catalog_note(s->cat, GLMQ_WARNING, "not-in-index", unnamed, file_name,
                          "%zu of its %zu arrays are not in the index, and used; the first is %s",
                          unnamed_count, h->count, unnamed))
        return no_memory(err);
    return GLMQ_OK;
}

static glmq_status take(shards *s, uint32_t file, glmq_error *err)
{
    glmq_st_header h = { 0 };
    glmq_status st = glmq_st_header_read(&h, s->cat->source, file, err);
    if (!st) st = add_header(s, &h, file, err);
    glmq_st_header_free(&h);
    return st;
}

/* Takes all candidates for which `wanted` holds; the others stay. */
static glmq_status take_if(shards *s, int (*wanted)(const shards *, const char *), glmq_error *err)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->left_count; i++) {
        const uint32_t file = s->left[i];
        if (wanted(s, glmq_source_name(s->cat->source, file)))
            GLMQ_TRY(take(s, file, err));
        else
            s->left[kept++] = file;
    }
    s->left_count = kept;
    return GLMQ_OK;
}

static int in_index(const shards *s, const char *name)
{
    uint64_t number;
    return glmq_strmap_get(&s->file_by_name, name, strlen(name), &number);
}

static int is_whole_model(const shards *s, const char *name)
{
    (void)s;
    return strcmp(name, "model.safetensors") == 0;
}

static int any(const shards *s, const char *name)
{
    (void)s;
    (void)name;
    return 1;
}

static glmq_status take_shards(shards *s, glmq_error *err)
{
    GLMQ_TRY(take_if(s, in_index, err));
    if (!s->taken_count) GLMQ_TRY(take_if(s, is_whole_model, err));
    return s->taken_count ? GLMQ_OK : take_if(s, any, err);
}

/* ---- what is left over ---- */

/* Parameters that may stand beside a weight of the same module without being one. */
static const char *const companions[] = { "bias", "e_score_correction_bias", "input_scale",
                                          "k_scale", "v_scale" };

/* Bytes of the module in front of the last dot; 0: a companion, or no dot. */
static size_t stem_of(const char *name)
{
    const char *dot = strrchr(name, '.');
    if (!dot) return 0;
    for (size_t i = 0; i < GLMQ_COUNT(companions); i++)
        if (strcmp(dot + 1, companions[i]) == 0) return 0;
    return (size_t)(dot - name);
}

static glmq_status collect_stems(shards *s, glmq_error *err)
{
    for (; s->stemmed < s->cat->count; s->stemmed++) {
        const char *name = s->cat->arrays[s->stemmed].name;
        const size_t stem = stem_of(name);
        if (stem && glmq_strmap_add(&s->stems, name, stem, 0, NULL) < 0) return no_memory(err);
    }
    return GLMQ_OK;
}

/* Do the shards hold this array, or the same weight in other arrays (M.weight beside their
 * M.qweight, M.weight.tq_packed, …)? */
static int repeats(const shards *s, const char *name)
{
    const size_t stem = stem_of(name);
    uint64_t ignored;
    return glmq_catalog_find(s->cat, name, strlen(name)) ||
           glmq_strmap_get(&s->stems, name, strlen(name), &ignored) ||
           (stem && (glmq_strmap_get(&s->stems, name, stem, &ignored) ||
                     glmq_catalog_find(s->cat, name, stem)));
}

static int belongs(const shards *s, const char *name)
{
    const glmq_catalog_options *opt = s->cat->options;
    const size_t len = strlen(name);
    uint64_t number;
    if (glmq_strmap_get(&s->home, name, len, &number)) return 1;
    if (opt && opt->known) return opt->known(opt->user, name, len) != 0;
    return strncmp(name, "model.", 6) == 0 || strncmp(name, "lm_head", 7) == 0;
}

enum { WHY_BYTES = GLMQ_NAME_MAX + 64 };

/* Is the file no shard?  Then `text` says why not, by the first array that tells. */
static int is_foreign(const shards *s, const glmq_st_header *h, char text[WHY_BYTES])
{
    if (!h->count) snprintf(text, WHY_BYTES, "it holds no arrays");
    for (size_t i = 0; i < h->count; i++) {
        const char *name = h->arrays[i].name;
        if (repeats(s, name)) {
            snprintf(text, WHY_BYTES, "the shards hold %s already", name);
            return 1;
        }
        if (!belongs(s, name)) {
            snprintf(text, WHY_BYTES, "%s is no array of the model", name);
            return 1;
        }
    }
    return !h->count;
}

static glmq_status judge(shards *s, const glmq_st_header *h, uint32_t file, glmq_error *err)
{
    char why[WHY_BYTES];
    if (!is_foreign(s, h, why)) return add_header(s, h, file, err);
    if (glmq_catalog_note(s->cat, GLMQ_NOTE, "file-ignored", NULL,
                          glmq_source_name(s->cat->source, file), "not a shard: %s", why))
        return no_memory(err);
    return GLMQ_OK;
}

static glmq_status take_leftover(shards *s, uint32_t file, glmq_error *err)
{
    glmq_st_header h = { 0 };
    glmq_error why = { 0 };
    glmq_status st = glmq_st_header_read(&h, s->cat->source, file, &why);
    if (!st)
        st = judge(s, &h, file, err);
    else if (st != GLMQ_E_FORMAT && st != GLMQ_E_LIMIT)
        st = glmq_fail(err, st, "%s", why.msg);
    else
        st = glmq_catalog_note(s->cat, GLMQ_WARNING, "file-ignored", NULL,
                               glmq_source_name(s->cat->source, file), "not readable: %s", why.msg)
                 ? no_memory(err)
                 : GLMQ_OK;
    glmq_st_header_free(&h);
    return st;
}

static glmq_status take_leftovers(shards *s, glmq_error *err)
{
    for (size_t i = 0; i < s->left_count; i++) {
        GLMQ_TRY(collect_stems(s, err));
        GLMQ_TRY(take_leftover(s, s->left[i], err));
    }
    return GLMQ_OK;
}

/* ---- does the index keep its promises? ---- */

typedef struct account {
    uint64_t bytes, elsewhere, lacking;
    const char *stray; /* the first name that is elsewhere */
} account;

static void count_promises(shards *s, account *a)
{
    for (const cJSON *m = s->map->child; m; m = m->next) {
        const glmq_array *array = glmq_catalog_find(s->cat, m->string, strlen(m->string));
        uint64_t number = 0;
        glmq_strmap_get(&s->home, m->string, strlen(m->string), &number);
        if (glmq_catalog_has_role(s->cat, s->files[number].name)) continue;
        if (!array) {
            if (!s->files[number].lacking++) s->files[number].first = m->string;
            a->lacking++;
            continue;
        }
        a->bytes += array->bytes; /* of distinct ranges of files: cannot overflow */
        if ((long)array->file == s->files[number].file) continue;
        if (!a->elsewhere++) a->stray = m->string;
    }
}

static glmq_status broken_promise(shards *s, const named *f, glmq_error *err)
{
    const int gone = f->file < 0;
    if (!s->cat->options || !s->cat->options->allow_incomplete)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "%s promises %s in %s, %s (missing in all: %" PRIu64 ")", index_name,
                         f->first, f->name, gone ? "which does not exist" : "which lacks it",
                         f->lacking);
    if (glmq_catalog_note(s->cat, GLMQ_ERROR, gone ? "missing-shard" : "missing-array", f->first,
                          f->name,
                          "the index promises %" PRIu64 " arrays in it that %s; the first is %s",
                          f->lacking, gone ? "are missing with it" : "it lacks", f->first))
        return no_memory(err);
    return GLMQ_OK;
}

static glmq_status note_stale(shards *s, const account *a, glmq_error *err)
{
    const glmq_array *stray =
        a->stray ? glmq_catalog_find(s->cat, a->stray, strlen(a->stray)) : NULL;
    uint64_t number = 0;
    if (!stray) return GLMQ_OK;
    glmq_strmap_get(&s->home, a->stray, strlen(a->stray), &number);
    if (glmq_catalog_note(s->cat, GLMQ_WARNING, "index-stale", a->stray, index_name,
                          "%" PRIu64 " arrays are in other files than it says; the first is %s, in "
                          "%s, not in %s",
                          a->elsewhere, a->stray, glmq_source_name(s->cat->source, stray->file),
                          s->files[number].name))
        return no_memory(err);
    return GLMQ_OK;
}

static glmq_status note_total(shards *s, const account *a, glmq_error *err)
{
    const cJSON *node = glmq_json_get(s->index, "metadata.total_size");
    uint64_t total;
    if (!glmq_json_u64(node, &total) || total == a->bytes) return GLMQ_OK;
    if (glmq_catalog_note(s->cat, GLMQ_NOTE, "total-size", NULL, index_name,
                          "total_size is %" PRIu64 ", its arrays take %" PRIu64 " bytes", total,
                          a->bytes))
        return no_memory(err);
    return GLMQ_OK;
}

static glmq_status check_index(shards *s, glmq_error *err)
{
    account a = { 0 };
    if (!s->index) return GLMQ_OK;
    count_promises(s, &a);
    for (size_t i = 0; i < s->file_count; i++)
        if (s->files[i].lacking) GLMQ_TRY(broken_promise(s, &s->files[i], err));
    GLMQ_TRY(note_stale(s, &a, err));
    return a.lacking ? GLMQ_OK : note_total(s, &a, err);
}

/* ---- all of it ---- */

static int by_number(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static glmq_status keep_shards(shards *s, glmq_error *err)
{
    glmq_catalog *cat = s->cat;
    cat->shards = glmq_arena_alloc(&cat->arena, s->taken_count * sizeof *cat->shards);
    if (!cat->shards) return no_memory(err);
    qsort(s->taken, s->taken_count, sizeof *s->taken, by_number);
    if (s->taken_count) memcpy(cat->shards, s->taken, s->taken_count * sizeof *cat->shards);
    cat->shard_count = s->taken_count;
    return GLMQ_OK;
}

static glmq_status choose(shards *s, glmq_error *err)
{
    GLMQ_TRY(find_candidates(s, err));
    if (!glmq_source_is_file(s->cat->source)) GLMQ_TRY(load_index(s, err));
    GLMQ_TRY(drop_foreign_index(s, err));
    GLMQ_TRY(take_shards(s, err));
    GLMQ_TRY(take_leftovers(s, err));
    GLMQ_TRY(check_index(s, err));
    return keep_shards(s, err);
}

glmq_status glmq_safetensors_open(glmq_catalog *cat, glmq_error *err)
{
    shards s = { .cat = cat };
    const glmq_status st = choose(&s, err);
    forget_index(&s);
    glmq_strmap_free(&s.stems);
    glmq_free(s.left);
    glmq_free(s.taken);
    return st;
}
