/* PyTorch's .pt files: a ZIP whose members are all stored as they are.
 *
 *   STEM/data.pkl      a pickle: which class each storage is of, and the shapes
 *   STEM/byteorder     "little" (newer files)
 *   STEM/data/0 …      the storages, raw
 *
 * A pickle is a program, and is never run here: it is searched for the names of storage
 * classes, and for the one form in which torch.save() writes a tensor's offset, shape and
 * strides.  What remains open is closed by sizes: exactly one storage may have that of the
 * array that is wanted.
 *
 * libarchive reads the ZIP (central directory, ZIP64, checksums).  That a member is stored, not
 * compressed, shows in where its bytes are: in the file's own. */
#include "torch_pt.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/safe.h"
#include "base/text.h"
#include <archive.h>
#include <archive_entry.h>
#include <ctype.h>
#include <string.h>

enum { MEMBERS_MAX = 4096, STORAGES_MAX = 64, RANK_MAX = 4, LISTED = 6 };

typedef struct storage {
    char name[96];
    const uint8_t *data;
    uint64_t bytes;
} storage;

typedef struct torch_file {
    const uint8_t *file;
    size_t len;
    storage *at; /* STORAGES_MAX */
    size_t count;
    const uint8_t *pickle;
    uint64_t pickle_bytes;
} torch_file;

static const struct class
{
    const char *name;
    glmq_dtype dtype; /* NONE: no floats */
    uint64_t bytes;
} classes[] = {
    { "FloatStorage", GLMQ_DT_F32, 4 },     { "HalfStorage", GLMQ_DT_F16, 2 },
    { "BFloat16Storage", GLMQ_DT_BF16, 2 }, { "DoubleStorage", GLMQ_DT_F64, 8 },
    { "LongStorage", GLMQ_DT_NONE, 8 },     { "IntStorage", GLMQ_DT_NONE, 4 },
    { "ShortStorage", GLMQ_DT_NONE, 2 },    { "CharStorage", GLMQ_DT_NONE, 1 },
    { "ByteStorage", GLMQ_DT_NONE, 1 },     { "BoolStorage", GLMQ_DT_NONE, 1 },
};

/* ---- members ---- */

/* A member's bytes, where they lie in the file. */
static glmq_status member_bytes(const torch_file *f, struct archive *a, const char *name,
                                const uint8_t **data, uint64_t *bytes, glmq_error *err)
{
    const void *block;
    size_t size;
    la_int64_t offset;
    int r;

    *data = NULL;
    *bytes = 0;
    while ((r = archive_read_data_block(a, &block, &size, &offset)) == ARCHIVE_OK) {
        const uintptr_t at = (uintptr_t)block, base = (uintptr_t)f->file;
        if (size == 0) continue;
        if (at < base || !in_range(at - base, size, f->len) || offset < 0 ||
            (uint64_t)offset != *bytes || (*data && (const uint8_t *)block != *data + *bytes))
            return glmq_fail(err, GLMQ_E_FORMAT, "%s is compressed, which torch.save never does",
                             name);
        if (!*data) *data = block;
        *bytes += size;
    }
    if (r != ARCHIVE_EOF)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: %s", name,
                         archive_error_string(a) ? archive_error_string(a) : "not readable");
    return GLMQ_OK;
}

/* What follows the stem: "data.pkl", "data/0"; NULL when there is no stem. */
static const char *behind_stem(const char *name)
{
    const char *slash = strchr(name, '/');
    return slash && slash > name ? slash + 1 : NULL;
}

static int is_storage(const char *tail)
{
    if (strncmp(tail, "data/", 5) != 0 || !tail[5]) return 0;
    for (const char *p = tail + 5; *p; p++)
        if (!isdigit((unsigned char)*p)) return 0;
    return 1;
}

static glmq_status keep_storage(torch_file *f, const char *tail, const uint8_t *data,
                                uint64_t bytes, glmq_error *err)
{
    storage *s;

    if (f->count == STORAGES_MAX)
        return glmq_fail(err, GLMQ_E_LIMIT, "more than %d arrays", STORAGES_MAX);
    s = &f->at[f->count++];
    *s = (storage){ .data = data, .bytes = bytes };
    strncpy(s->name, tail, sizeof s->name - 1);
    return GLMQ_OK;
}

static glmq_status take_member(torch_file *f, struct archive *a, struct archive_entry *entry,
                               glmq_error *err)
{
    const char *name = archive_entry_pathname(entry), *tail = name ? behind_stem(name) : NULL;
    const uint8_t *data;
    uint64_t bytes;
    char clean[256];

    if (!tail) return GLMQ_OK;
    glmq_escape(clean, sizeof clean, name, strlen(name));
    GLMQ_TRY(member_bytes(f, a, clean, &data, &bytes, err));
    if (strcmp(tail, "byteorder") == 0 && (bytes != 6 || memcmp(data, "little", 6) != 0))
        return glmq_fail(err, GLMQ_E_UNSUPPORTED, "%s does not say \"little\"", clean);
    if (strcmp(tail, "data.pkl") == 0) {
        if (f->pickle) return glmq_fail(err, GLMQ_E_FORMAT, "two members %s", tail);
        f->pickle = data;
        f->pickle_bytes = bytes;
    }
    return is_storage(tail) ? keep_storage(f, tail, data, bytes, err) : GLMQ_OK;
}

static glmq_status walk_members(torch_file *f, struct archive *a, glmq_error *err)
{
    struct archive_entry *entry;
    int r = ARCHIVE_OK, members = 0;

    if (archive_read_support_format_zip_seekable(a) != ARCHIVE_OK)
        return glmq_fail(err, GLMQ_E_UNSUPPORTED, "libarchive cannot read ZIP files");
    if (archive_read_open_memory(a, f->file, f->len) != ARCHIVE_OK)
        return glmq_fail(err, GLMQ_E_FORMAT, "no ZIP file, which .pt files are");
    while ((r = archive_read_next_header(a, &entry)) == ARCHIVE_OK) {
        if (++members > MEMBERS_MAX)
            return glmq_fail(err, GLMQ_E_LIMIT, "more than %d members", MEMBERS_MAX);
        GLMQ_TRY(take_member(f, a, entry, err));
    }
    if (r != ARCHIVE_EOF)
        return glmq_fail(err, GLMQ_E_FORMAT, "not readable as ZIP: %s",
                         archive_error_string(a) ? archive_error_string(a) : "?");
    if (!f->pickle_bytes)
        return glmq_fail(err, GLMQ_E_FORMAT, "no member data.pkl: not written by torch.save");
    return GLMQ_OK;
}

/* ---- the pickle ---- */

/* Is the class named?  As a word: "FloatStorage" is no part of another's name. */
static int names_class(const torch_file *f, const char *name)
{
    const size_t n = strlen(name);
    const uint8_t *p = f->pickle, *end = p + f->pickle_bytes;

    while (end - p >= (ptrdiff_t)n && (p = memmem(p, (size_t)(end - p), name, n)) != NULL) {
        const int before = p > f->pickle && (isalnum(p[-1]) || p[-1] == '_');
        const int after = p + n < end && (isalnum(p[n]) || p[n] == '_');
        if (!before && !after) return 1;
        p++;
    }
    return 0;
}

/* Reads an integer of a pickle; NULL when there is none. */
static const uint8_t *pickle_int(const uint8_t *p, const uint8_t *end, uint64_t *v)
{
    if (end - p >= 2 && *p == 'K') {
        *v = p[1];
        return p + 2;
    }
    if (end - p >= 3 && *p == 'M') {
        *v = load_le16(p + 1);
        return p + 3;
    }
    if (end - p >= 5 && *p == 'J') {
        *v = load_le32(p + 1);
        return p + 5;
    }
    return NULL;
}

/* A tuple of 1 to 4 integers, and the memo that may follow it. */
static const uint8_t *pickle_tuple(const uint8_t *p, const uint8_t *end, uint64_t v[RANK_MAX],
                                   int *rank)
{
    const int marked = p < end && *p == '(';
    const uint8_t *next;

    if (marked) p++;
    for (*rank = 0; *rank < RANK_MAX && (next = pickle_int(p, end, &v[*rank])); p = next) ++*rank;
    if (p == end || *rank == 0 || *p++ != (marked ? 't' : 0x84 + *rank)) return NULL;
    if (end - p >= 2 && *p == 'q') return p + 2;
    if (end - p >= 5 && *p == 'r') return p + 5;
    return p;
}

typedef struct view {
    uint64_t offset, dims[RANK_MAX], strides[RANK_MAX];
    int rank;
} view;

/* Behind a persistent identifier ('Q'): offset, shape, strides. */
static int read_view(const uint8_t *p, const uint8_t *end, view *v)
{
    int strides = 0;

    p = pickle_int(p, end, &v->offset);
    if (p) p = pickle_tuple(p, end, v->dims, &v->rank);
    if (p) p = pickle_tuple(p, end, v->strides, &strides);
    return p && strides == v->rank;
}

/* How many tensors the pickle shows; *v is the last. */
static int find_views(const torch_file *f, view *v)
{
    const uint8_t *end = f->pickle + f->pickle_bytes;
    int found = 0;

    for (const uint8_t *p = f->pickle; p < end; p++) {
        view one;
        if (*p != 'Q' || !read_view(p + 1, end, &one)) continue;
        *v = one;
        found++;
    }
    return found;
}

/* [entries, width] in that order, but for dimensions of 1, without gaps. */
static int is_plain_view(const view *v, uint64_t entries, uint64_t width)
{
    uint64_t big[RANK_MAX], stride = 1;
    int n = 0;

    for (int i = v->rank; i-- > 0;) {
        if (v->dims[i] == 1) continue;
        if (v->strides[i] != stride || mul_u64(stride, v->dims[i], &stride)) return 0;
        big[n++] = v->dims[i];
    }
    if (v->offset) return 0;
    if (n == 2) return big[0] == width && big[1] == entries;
    return n == 1 && ((width == 1 && big[0] == entries) || (entries == 1 && big[0] == width));
}

/* ---- which storage ---- */

static glmq_status tell(const torch_file *f, const char *what, uint64_t entries, uint64_t width,
                        glmq_error *err)
{
    glmq_text t = { 0 };
    glmq_status st;

    for (size_t i = 0; i < f->count && i < LISTED; i++)
        glmq_text_printf(&t, "%s%s of %" PRIu64 " bytes", i ? ", " : "", f->at[i].name,
                         f->at[i].bytes);
    if (f->count > LISTED) glmq_text_add(&t, ", …");
    for (size_t i = 0; i < GLMQ_COUNT(classes); i++)
        if (names_class(f, classes[i].name)) glmq_text_printf(&t, ", %s", classes[i].name);
    st = glmq_fail(err, t.failed ? GLMQ_E_NOMEM : GLMQ_E_FORMAT,
                   "%s a codebook of %" PRIu64 " entries of %" PRIu64 "; it holds %s", what,
                   entries, width, t.len ? t.data : "nothing");
    glmq_text_free(&t);
    return st;
}

static glmq_status choose(const torch_file *f, uint64_t entries, uint64_t width,
                          glmq_torch_array *out, glmq_error *err)
{
    const struct class *class = NULL;
    uint64_t count = 0, bytes = 0;
    size_t fit = 0;
    view v = { 0 };

    if (mul_u64(entries, width, &count))
        return glmq_fail(err, GLMQ_E_LIMIT, "a codebook of %" PRIu64 " x %" PRIu64, entries, width);
    for (size_t c = 0; c < GLMQ_COUNT(classes); c++) {
        if (!names_class(f, classes[c].name) || mul_u64(count, classes[c].bytes, &bytes)) continue;
        for (size_t i = 0; i < f->count; i++) {
            if (f->at[i].bytes != bytes) continue;
            class = &classes[c];
            *out = (glmq_torch_array){ class->dtype, f->at[i].data, bytes };
            fit++;
        }
    }
    if (fit != 1)
        return tell(f, fit ? "more than one array could be" : "no array could be", entries, width,
                    err);
    if (class->dtype == GLMQ_DT_NONE)
        return tell(f, "the one array of the right size is no floats for", entries, width, err);
    if (find_views(f, &v) == 1 && !is_plain_view(&v, entries, width))
        return tell(f, "the array is a view of another shape than", entries, width, err);
    return GLMQ_OK;
}

static glmq_status read_file(torch_file *f, uint64_t entries, uint64_t width, glmq_torch_array *out,
                             glmq_error *err)
{
    struct archive *a = archive_read_new();
    glmq_status st;

    if (!a) return glmq_fail(err, GLMQ_E_NOMEM, "a ZIP reader");
    st = walk_members(f, a, err);
    archive_read_free(a);
    return st ? st : choose(f, entries, width, out, err);
}

glmq_status glmq_torch_find(const uint8_t *file, size_t len, uint64_t entries, uint64_t width,
                            glmq_torch_array *out, glmq_error *err)
{
    static const uint8_t old[] = { 0x80, 0x02, 0x8a, 0x0a };
    torch_file f = { .file = file, .len = len };
    glmq_status st;

    *out = (glmq_torch_array){ GLMQ_DT_NONE, NULL, 0 };
    if (len >= sizeof old && memcmp(file, old, sizeof old) == 0)
        return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                         "a .pt file of before PyTorch 1.6: load it there and save it anew");
    if (len < 4 || memcmp(file, "PK", 2) != 0)
        return glmq_fail(err, GLMQ_E_FORMAT, "no ZIP file, which .pt files are");
    f.at = glmq_alloc_zero(STORAGES_MAX, sizeof *f.at);
    if (!f.at) return glmq_fail(err, GLMQ_E_NOMEM, "a .pt file");
    st = read_file(&f, entries, width, out, err);
    glmq_free(f.at);
    if (st) *out = (glmq_torch_array){ GLMQ_DT_NONE, NULL, 0 };
    return st;
}
