/* Where a run writes: everything below DST.partial, until one rename makes it DST.
 *
 *   folder   DST.partial/{journal,lock,files…}  ->  DST/
 *   file     DST.partial/{journal,lock,NAME,glmq-manifest.json}
 *            ->  DST.glmq-manifest.json, then DST; then the folder goes
 *
 * Killed behind the rename, a run is found finished by --resume, and the rest is cleared up.
 *
 * What must never happen: the source is touched; something that looks finished is not; an
 * overwrite loses the old result and the new one. */
#include "convert/place.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/safe.h"
#include "convert/finished.h"
#include "writers/manifest.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char MANIFEST[] = GLMQ_MANIFEST_NAME;
enum { COPY_BYTES = 1 << 20, MANIFEST_PER_ITEM = 512, MANIFEST_PER_PIECE = 256 };

/* "A" "B" "C" joined; NULL when out of memory. */
static char *join(const char *a, const char *b, const char *c)
{
    const size_t n = strlen(a) + strlen(b) + strlen(c) + 1;
    char *path = glmq_alloc(n);
    if (path) snprintf(path, n, "%s%s%s", a, b, c);
    return path;
}

static glmq_status no_memory(glmq_error *err)
{
    return glmq_fail(err, GLMQ_E_NOMEM, "a path");
}

char *glmq_place_path(const glmq_place *d, const char *name)
{
    return join(d->partial, "/", name);
}

static glmq_status place_path(const glmq_place *d, const char *name, char **out, glmq_error *err)
{
    *out = glmq_place_path(d, name);
    return *out ? GLMQ_OK : no_memory(err);
}

/* The folder a path lies in; the caller frees it. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *out;
    if (!slash) return glmq_strdup(".");
    if (slash == path) return glmq_strdup("/");
    out = glmq_strdup(path);
    if (out) out[slash - path] = '\0';
    return out;
}

/* ---- SRC and DST must not meet ---- */

static int same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Is the folder `inner` (a real path) `outer` or below it? */
static int is_below(const char *inner, const char *outer)
{
    const size_t n = strlen(outer);
    if (strcmp(outer, "/") == 0) return 1;
    return strncmp(inner, outer, n) == 0 && (inner[n] == '\0' || inner[n] == '/');
}

/* The real path of something that need not exist yet: its folder's, and its name. */
static int real_path(const char *path, char out[PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    char *folder;
    size_t n;
    if (realpath(path, out)) return 0;
    folder = folder_of(path);
    if (!folder || !realpath(folder, out)) {
        glmq_free(folder);
        return -1;
    }
    glmq_free(folder);
    n = strlen(out);
    if (n + strlen(name) + 2 > PATH_MAX) return -1;
    snprintf(out + n, PATH_MAX - n, "%s%s", out[n - 1] == '/' ? "" : "/", name);
    return 0;
}

/* The folder that holds the source's files. */
static char *source_folder(const glmq_source *src)
{
    const char *path = glmq_source_path(src);
    return glmq_source_is_file(src) ? folder_of(path) : glmq_strdup(path);
}

/* DST as a file of the source, by any name. */
static glmq_status check_files(const glmq_plan *p, const char *folder, glmq_error *err)
{
    const glmq_source *src = p->graph->source;
    struct stat dst, one;
    if (stat(p->dst, &dst)) return GLMQ_OK;
    for (size_t i = 0; i < glmq_source_count(src); i++) {
        char *path = join(folder, "/", glmq_source_name(src, i));
        const int same = path && stat(path, &one) == 0 && same_file(&dst, &one);
        glmq_free(path);
        if (same)
            return glmq_fail(err, GLMQ_E_ARG, "%s: is the source's own %s", p->dst,
                             glmq_source_name(src, i));
    }
    return GLMQ_OK;
}

static glmq_status check_apart(const glmq_plan *p, const char *folder, glmq_error *err)
{
    char from[PATH_MAX], to[PATH_MAX], partial[PATH_MAX + 16];
    if (!realpath(folder, from)) return glmq_fail_sys(err, errno, "%s", folder);
    if (real_path(p->dst, to)) return glmq_fail_sys(err, errno ? errno : ENOENT, "%s", p->dst);
    snprintf(partial, sizeof partial, "%s.partial", to);
    if (is_below(from, to) || is_below(from, partial))
        return glmq_fail(err, GLMQ_E_ARG, "%s: the source lies in the destination", p->dst);
    if (!glmq_source_is_file(p->graph->source) && is_below(to, from))
        return glmq_fail(err, GLMQ_E_ARG, "%s: the destination lies in the source", p->dst);
    return check_files(p, folder, err);
}

static glmq_status check_source(const glmq_plan *p, glmq_error *err)
{
    glmq_status st;
    char *folder = source_folder(p->graph->source);
    if (!folder) return no_memory(err);
    st = check_apart(p, folder, err);
    glmq_free(folder);
    return st ? st : glmq_source_unchanged(p->graph->source, err);
}

/* ---- DST.partial ---- */

static int has(const glmq_place *d, const char *name)
{
    char *path = glmq_place_path(d, name);
    const int yes = path && glmq_out_exists(path);
    glmq_free(path);
    return yes;
}

/* Locks the folder: one run at a time. */
static glmq_status lock(glmq_place *d, glmq_error *err)
{
    char *path;
    glmq_status st;
    GLMQ_TRY(place_path(d, "lock", &path, err));
    st = glmq_out_lock(path, &d->lock, err);
    glmq_free(path);
    return st;
}

static void unlock(glmq_place *d)
{
    if (d->lock >= 0) close(d->lock);
    d->lock = -1;
}

/* A folder of another's making is never removed, whatever the options. */
static int is_run(const glmq_place *d)
{
    return has(d, "journal") || has(d, "lock") || has(d, MANIFEST);
}

/* Starts anew: a run's old folder goes. */
static glmq_status start_anew(glmq_place *d, glmq_error *err)
{
    if (glmq_out_exists(d->partial)) {
        GLMQ_TRY(lock(d, err)); /* not while another run is at it */
        unlock(d);
        GLMQ_TRY(glmq_out_remove_marked(d->partial, "lock", err));
    }
    GLMQ_TRY(glmq_out_mkdir(d->partial, err));
    return lock(d, err);
}

static glmq_status make_partial(glmq_place *d, const glmq_run_options *opt, glmq_error *err)
{
    const int there = glmq_out_exists(d->partial), resume = opt && opt->resume;
    const int overwrite = opt && opt->overwrite;
    if (!there) return start_anew(d, err);
    if (resume && has(d, "journal")) {
        GLMQ_TRY(lock(d, err));
        d->resumed = has(d, "journal");
        return d->resumed
                   ? GLMQ_OK
                   : glmq_fail(err, GLMQ_E_EXISTS, "%s: another run just finished", d->partial);
    }
    if (!is_run(d) && !((resume || overwrite) && rmdir(d->partial) == 0))
        return glmq_fail(err, GLMQ_E_EXISTS, "%s: exists, and is no unfinished run of glmq",
                         d->partial);
    if (resume || overwrite) return start_anew(d, err);
    return glmq_fail(err, GLMQ_E_EXISTS,
                     "%s: exists from an unfinished run; --resume goes on, --overwrite starts anew",
                     d->partial);
}

/* ---- space ---- */

/* Bytes that a file of an earlier run already takes on disk. */
static uint64_t taken(const glmq_place *d, const char *name)
{
    struct stat st;
    char *path = glmq_place_path(d, name);
    const int there = path && lstat(path, &st) == 0 && S_ISREG(st.st_mode);
    glmq_free(path);
    return there ? (uint64_t)st.st_blocks * 512 : 0;
}

static glmq_status check_space(const glmq_place *d, glmq_error *err)
{
    const glmq_plan *p = d->plan;
    uint64_t needed = p->items.count * MANIFEST_PER_ITEM + p->pieces.count * MANIFEST_PER_PIECE;
    uint64_t available;
    for (size_t i = 0; i < glmq_plan_file_count(p); i++) {
        const uint64_t bytes = glmq_plan_file_bytes(p, i);
        const uint64_t has_bytes = d->resumed ? taken(d, glmq_plan_file_name(p, i)) : 0;
        if (i < p->files.count && d->linked[i]) continue;
        if (bytes > has_bytes && add_u64(needed, bytes - has_bytes, &needed)) needed = UINT64_MAX;
    }
    GLMQ_TRY(glmq_out_space(d->partial, &available, err));
    if (needed <= available) return GLMQ_OK;
    return glmq_fail(err, GLMQ_E_IO, "%s: the output needs %" PRIu64 " bytes, %" PRIu64 " are free",
                     p->dst, needed, available);
}

/* ---- links ---- */

/* Is the file's header what the source's file begins with? */
static int same_header(const glmq_plan *p, const glmq_plan_file *f, uint32_t source)
{
    const glmq_source *src = p->graph->source;
    uint8_t *buf;
    int same;
    if (f->header_bytes > glmq_source_size(src, source)) return 0;
    buf = glmq_alloc((size_t)f->header_bytes);
    same = buf && !glmq_source_read(src, source, 0, buf, (size_t)f->header_bytes, NULL) &&
           memcmp(buf, f->header, (size_t)f->header_bytes) == 0;
    glmq_free(buf);
    return same;
}

/* The source span a piece is a copy of; NULL: it is none. */
static const glmq_span *copied_span(const glmq_plan *p, const glmq_piece *c)
{
    const glmq_item *it = &p->items.at[c->item];
    const glmq_tensor *t = &p->graph->tensors[it->tensor];
    if (it->travel != GLMQ_SAME_BYTES || it->parts != t->parts || it->row_perm || it->col_perm)
        return NULL;
    return &t->part[c->part].span[c->slot];
}

/* Which source file each file of the plan repeats byte for byte; UINT32_MAX: none. */
static void find_twins(const glmq_plan *p, uint32_t *twin, uint8_t *seen)
{
    for (size_t i = 0; i < p->pieces.count; i++) {
        const glmq_piece *c = &p->pieces.at[i];
        const glmq_span *from = copied_span(p, c);
        if (!seen[c->file]++) twin[c->file] = from ? from->file : UINT32_MAX;
        if (!from || from->file != twin[c->file] || from->offset != c->offset ||
            from->bytes != c->bytes)
            twin[c->file] = UINT32_MAX;
        seen[c->file] = 1;
    }
    for (size_t f = 0; f < p->files.count; f++) {
        const glmq_plan_file *file = &p->files.at[f];
        if (!seen[f]) twin[f] = UINT32_MAX;
        if (twin[f] != UINT32_MAX && (glmq_source_size(p->graph->source, twin[f]) != file->bytes ||
                                      !same_header(p, file, twin[f])))
            twin[f] = UINT32_MAX;
    }
}

/* Links PARTIAL/NAME to a file of the source.  *done 0: it has to be copied. */
static glmq_status link_one(const glmq_place *d, uint32_t source, const char *name, int *done,
                            glmq_error *err)
{
    const glmq_source *src = d->plan->graph->source;
    char *folder = source_folder(src);
    char *from = folder ? join(folder, "/", glmq_source_name(src, source)) : NULL;
    char *real = from ? realpath(from, NULL) : NULL; /* a link to a link would dangle */
    char *to = glmq_place_path(d, name);
    glmq_status st = from && to ? GLMQ_OK : no_memory(err);
    if (!st && glmq_out_exists(to)) st = glmq_out_remove_tree(to, err);
    if (!st) st = glmq_out_link(real ? real : from, to, err);
    *done = !st;
    free(real);
    glmq_free(folder);
    glmq_free(from);
    glmq_free(to);
    return st == GLMQ_E_UNSUPPORTED ? GLMQ_OK : st;
}

static glmq_status link_files(glmq_place *d, glmq_error *err)
{
    const glmq_plan *p = d->plan;
    const size_t n = p->files.count + 1;
    uint32_t *twin = glmq_alloc_zero(n, sizeof *twin);
    uint8_t *seen = glmq_alloc_zero(n, 1);
    glmq_status st = twin && seen ? GLMQ_OK : no_memory(err);
    if (!st) find_twins(p, twin, seen);
    for (size_t f = 0; f < p->files.count && !st; f++) {
        int done = 0;
        if (twin[f] != UINT32_MAX) st = link_one(d, twin[f], p->files.at[f].name, &done, err);
        d->linked[f] = (uint8_t)done;
    }
    glmq_free(twin);
    glmq_free(seen);
    return st;
}

/* ---- opening ---- */

/* What a commit leaves when it is cut short behind its rename. */
static glmq_status clear_up(glmq_place *d, glmq_error *err)
{
    if (!is_run(d)) return GLMQ_OK;
    GLMQ_TRY(lock(d, err));
    unlock(d);
    return glmq_out_remove_marked(d->partial, "lock", err);
}

static glmq_status open_place(glmq_place *d, const glmq_run_options *opt, glmq_error *err)
{
    const glmq_plan *p = d->plan;
    GLMQ_TRY(check_source(p, err));
    if (!glmq_out_exists(p->dst) || (opt && opt->overwrite)) return make_partial(d, opt, err);
    d->finished = opt && opt->resume && p->files.count && !has(d, p->files.at[0].name) &&
                  glmq_finished(p, &d->found);
    if (d->finished) return clear_up(d, err);
    return glmq_fail(err, GLMQ_E_EXISTS, "%s: exists; --overwrite replaces it", p->dst);
}

glmq_status glmq_place_open(glmq_place *d, const glmq_plan *p, const glmq_run_options *opt,
                            glmq_error *err)
{
    glmq_status st;
    *d = (glmq_place){ .plan = p, .lock = -1 };
    d->partial = join(p->dst, ".partial", "");
    d->file = glmq_alloc_zero(p->files.count + 1, sizeof *d->file);
    d->linked = glmq_alloc_zero(p->files.count + 1, 1);
    st = d->partial && d->file && d->linked ? open_place(d, opt, err) : no_memory(err);
    if (st) glmq_place_close(d);
    return st;
}

/* A file with a second name may be the source's own (--link, in an earlier start of this
 * run): it is never opened for writing. */
static glmq_status drop_link(const char *path, glmq_error *err)
{
    struct stat st;
    if (lstat(path, &st) || st.st_nlink < 2) return GLMQ_OK;
    return glmq_out_remove_tree(path, err);
}

static glmq_status open_output(const glmq_place *d, const char *name, uint64_t bytes,
                               glmq_out **out, glmq_error *err)
{
    char *path;
    glmq_status st;
    GLMQ_TRY(place_path(d, name, &path, err));
    st = drop_link(path, err);
    if (!st) st = glmq_out_open(out, path, bytes, err);
    glmq_free(path);
    return st;
}

static glmq_status make_files(glmq_place *d, const glmq_run_options *opt, glmq_error *err)
{
    const glmq_plan *p = d->plan;
    if (p->options.link) GLMQ_TRY(link_files(d, err));
    GLMQ_TRY(check_space(d, err));
    for (size_t f = 0; f < p->files.count; f++) {
        if (d->linked[f]) continue;
        GLMQ_TRY(open_output(d, p->files.at[f].name, p->files.at[f].bytes, &d->file[f], err));
        if (opt && opt->direct) GLMQ_TRY(glmq_out_direct(d->file[f], err));
    }
    return GLMQ_OK;
}

/* Where there is no room, a run that has done nothing yet leaves nothing to resume. */
glmq_status glmq_place_files(glmq_place *d, const glmq_run_options *opt, glmq_error *err)
{
    const glmq_status st = make_files(d, opt, err);
    if (st) glmq_place_abandon(d);
    return st;
}

static void close_files(glmq_place *d)
{
    for (size_t f = 0; d->file && f < d->plan->files.count; f++) {
        glmq_out_close(d->file[f]);
        d->file[f] = NULL;
    }
}

void glmq_place_abandon(glmq_place *d)
{
    close_files(d);
    if (!d->resumed) (void)glmq_out_remove_marked(d->partial, "lock", NULL);
}

void glmq_place_close(glmq_place *d)
{
    close_files(d);
    unlock(d);
    glmq_free(d->file);
    glmq_free(d->linked);
    glmq_free(d->partial);
    *d = (glmq_place){ .lock = -1 };
}

/* ---- commit ---- */

static glmq_status write_headers(glmq_place *d, glmq_error *err)
{
    const glmq_plan *p = d->plan;
    for (size_t f = 0; f < p->files.count; f++) {
        const glmq_plan_file *file = &p->files.at[f];
        if (!d->file[f]) continue;
        GLMQ_TRY(glmq_out_write(d->file[f], 0, file->header, (size_t)file->header_bytes, err));
        GLMQ_TRY(glmq_out_sync(d->file[f], err));
    }
    return GLMQ_OK;
}

static glmq_status write_texts(glmq_place *d, glmq_digest *digest, glmq_error *err)
{
    const glmq_plan *p = d->plan;
    for (size_t i = 0; i < p->texts.count; i++) {
        const glmq_plan_text *t = &p->texts.at[i];
        char *path;
        glmq_status st;
        GLMQ_TRY(place_path(d, t->name, &path, err));
        st = glmq_out_file(path, t->data, t->len, err);
        glmq_free(path);
        if (st) return st;
        digest[i] = glmq_hash_of(t->data, t->len);
    }
    return GLMQ_OK;
}

/* A side file, byte for byte; `to` NULL: it is linked, only its digest is wanted. */
static glmq_status copy_bytes(const glmq_source *src, const glmq_plan_copy *c, glmq_out *to,
                              uint8_t *buf, glmq_hash *h, glmq_error *err)
{
    glmq_hash_reset(h);
    for (uint64_t at = 0; at < c->bytes;) {
        const uint64_t left = c->bytes - at;
        const size_t n = left < COPY_BYTES ? (size_t)left : COPY_BYTES;
        GLMQ_TRY(glmq_source_read(src, c->file, at, buf, n, err));
        if (to) GLMQ_TRY(glmq_out_write(to, at, buf, n, err));
        glmq_hash_add(h, buf, n);
        at += n;
    }
    return to ? glmq_out_sync(to, err) : GLMQ_OK;
}

static glmq_status copy_one(glmq_place *d, const glmq_plan_copy *c, uint8_t *buf, glmq_hash *h,
                            glmq_error *err)
{
    glmq_status st = GLMQ_OK;
    glmq_out *to = NULL;
    int linked = 0;
    if (d->plan->options.link) GLMQ_TRY(link_one(d, c->file, c->name, &linked, err));
    if (!linked) st = open_output(d, c->name, c->bytes, &to, err);
    if (!st) st = copy_bytes(d->plan->graph->source, c, to, buf, h, err);
    glmq_out_close(to);
    return st;
}

static glmq_status write_copies(glmq_place *d, glmq_digest *digest, glmq_error *err)
{
    const glmq_plan *p = d->plan;
    uint8_t *buf = glmq_alloc(COPY_BYTES);
    glmq_hash *h = glmq_hash_new();
    glmq_status st = buf && h ? GLMQ_OK : glmq_fail(err, GLMQ_E_NOMEM, "copying side files");
    for (size_t i = 0; i < p->copies.count && !st; i++) {
        st = copy_one(d, &p->copies.at[i], buf, h, err);
        if (!st) digest[i] = glmq_hash_get(h);
    }
    glmq_hash_free(h);
    glmq_free(buf);
    return st;
}

static glmq_status write_rest(glmq_place *d, const glmq_results *r, glmq_error *err)
{
    const glmq_plan *p = d->plan;
    char *path = NULL;
    glmq_digest *digest = glmq_alloc_zero(glmq_plan_file_count(p) + 1, sizeof *digest);
    glmq_status st = digest ? GLMQ_OK : glmq_fail(err, GLMQ_E_NOMEM, "the manifest");
    if (!st) st = write_headers(d, err);
    if (!st) st = write_texts(d, digest + p->files.count, err);
    if (!st) st = write_copies(d, digest + p->files.count + p->texts.count, err);
    if (!st) st = glmq_manifest_file_digests(p, r, digest, err);
    if (!st) st = place_path(d, MANIFEST, &path, err);
    if (!st) st = glmq_manifest_write(path, p, r, digest, err);
    glmq_free(path);
    glmq_free(digest);
    return st;
}

static glmq_status remove_one(const glmq_place *d, const char *name, glmq_error *err)
{
    char *path;
    glmq_status st;
    GLMQ_TRY(place_path(d, name, &path, err));
    st = glmq_out_remove_tree(path, err);
    glmq_free(path);
    return st;
}

/* What is no part of the result: leftovers of an earlier start may only be glmq's own. */
static glmq_status remove_tools(const glmq_place *d, glmq_error *err)
{
    GLMQ_TRY(remove_one(d, "journal", err));
    return remove_one(d, "lock", err);
}

static glmq_status sync_parent(const char *path, glmq_error *err)
{
    char *folder = folder_of(path);
    glmq_status st = folder ? glmq_out_sync_dir(folder, err) : no_memory(err);
    glmq_free(folder);
    return st;
}

/* Moves DST out of the way; *old NULL: there was none. */
static glmq_status set_aside(const glmq_place *d, char **old, glmq_error *err)
{
    *old = NULL;
    if (!glmq_out_exists(d->plan->dst)) return GLMQ_OK;
    *old = join(d->plan->dst, ".replaced", "");
    if (!*old) return no_memory(err);
    if (glmq_out_exists(*old)) GLMQ_TRY(glmq_out_remove_tree(*old, err));
    return glmq_out_rename(d->plan->dst, *old, err);
}

static glmq_status commit_folder(glmq_place *d, const glmq_run_options *opt, glmq_error *err)
{
    const char *dst = d->plan->dst;
    char *old = NULL;
    glmq_status st = GLMQ_OK;
    if (glmq_out_exists(dst) && !(opt && opt->overwrite))
        return glmq_fail(err, GLMQ_E_EXISTS, "%s: appeared while the run went on", dst);
    if (opt && opt->overwrite) st = set_aside(d, &old, err);
    if (!st) st = remove_tools(d, err);
    if (!st) st = glmq_out_rename(d->partial, dst, err);
    if (!st) st = sync_parent(dst, err);
    if (!st && old) st = glmq_out_remove_tree(old, err);
    glmq_free(old);
    return st;
}

/* The manifest first: a file under its own name is complete, manifest and all. */
static glmq_status commit_file(glmq_place *d, const glmq_run_options *opt, glmq_error *err)
{
    const char *dst = d->plan->dst;
    char *file = glmq_place_path(d, d->plan->files.at[0].name);
    char *manifest = glmq_place_path(d, MANIFEST), *beside = join(dst, ".", MANIFEST), *old = NULL;
    glmq_status st = file && manifest && beside ? GLMQ_OK : no_memory(err);
    struct stat is;
    if (!st && glmq_out_exists(dst) && !(opt && opt->overwrite))
        st = glmq_fail(err, GLMQ_E_EXISTS, "%s: appeared while the run went on", dst);
    /* a file gives way to a rename, a folder does not */
    if (!st && lstat(dst, &is) == 0 && S_ISDIR(is.st_mode)) st = set_aside(d, &old, err);
    if (!st) st = glmq_out_rename(manifest, beside, err);
    if (!st) st = glmq_out_rename(file, dst, err);
    if (!st) st = sync_parent(dst, err);
    if (!st && old) st = glmq_out_remove_tree(old, err);
    if (!st) st = glmq_out_remove_marked(d->partial, "lock", err);
    glmq_free(file);
    glmq_free(manifest);
    glmq_free(beside);
    glmq_free(old);
    return st;
}

glmq_status glmq_place_commit(glmq_place *d, const glmq_run_options *opt, const glmq_results *r,
                              glmq_error *err)
{
    GLMQ_TRY(glmq_source_unchanged(d->plan->graph->source, err));
    GLMQ_TRY(write_rest(d, r, err));
    GLMQ_TRY(glmq_source_unchanged(d->plan->graph->source, err));
    close_files(d);
    GLMQ_TRY(glmq_out_sync_dir(d->partial, err));
    return d->plan->dst_is_file ? commit_file(d, opt, err) : commit_folder(d, opt, err);
}
