/* Sources: a folder's files, one file, or the parts of a split GGUF.
 *
 * Everything hangs on one open folder and names in it.  Files are opened when first
 * read, and at most `limit` of them are open at a time; a file that is opened must still
 * have the size and time that it had when the source was opened. */
#include "glmq/source.h"
#include "base/arena.h"
#include "base/error.h"
#include "base/fault.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/safe.h"
#include "base/strmap.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    OPEN_MAX_FILES = 1024, /* file descriptors that a source holds at most   */
    READ_MAX = 1 << 30,    /* bytes in one pread: Linux stops short of 2 GiB */
};

typedef struct file {
    const char *name;
    uint64_t size;
    int64_t stamp;
    int fd;        /* -1: not open                              */
    int users;     /* reads under way on fd                     */
    uint64_t used; /* the clock at its last use                 */
} file;

struct glmq_source {
    char *path;
    int is_file, dir;
    file *files;
    size_t count, cap;
    glmq_arena names;
    glmq_strmap by_name;
    pthread_mutex_t lock; /* of what follows, and of fd, users, used in the files */
    size_t open, limit;
    uint64_t clock;
};

static int64_t stamp_of(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

static int stat_at(int dir, const char *name, struct stat *st)
{
    if (glmq_fault()) {
        errno = EIO;
        return -1;
    }
    return fstatat(dir, name, st, 0);
}

/* ---- opening ---- */

static glmq_status add_file(glmq_source *s, const char *name, const struct stat *st,
                            glmq_error *err)
{
    file *f;
    if (s->count == GLMQ_FILES_MAX)
        return glmq_fail(err, GLMQ_E_LIMIT, "more than %d files", GLMQ_FILES_MAX);
    if (s->count == s->cap) {
        const size_t cap = s->cap ? s->cap * 2 : 64;
        file *wide = glmq_realloc(s->files, cap * sizeof *wide);
        if (!wide) return glmq_fail(err, GLMQ_E_NOMEM, "a list of %zu files", cap);
        s->files = wide;
        s->cap = cap;
    }
    f = &s->files[s->count];
    *f = (file){ .size = (uint64_t)st->st_size, .stamp = stamp_of(st), .fd = -1 };
    f->name = glmq_arena_strdup(&s->names, name);
    if (!f->name) return glmq_fail(err, GLMQ_E_NOMEM, "the name of a file");
    s->count++;
    return GLMQ_OK;
}

/* Adds a name of the folder if it is a regular file, or a link to one.  Dangling links
 * are left out: an index that names one will miss it. */
static glmq_status add_name(glmq_source *s, const char *name, glmq_error *err)
{
    struct stat st;
    if (stat_at(s->dir, name, &st)) {
        if (errno == ENOENT || errno == ELOOP) return GLMQ_OK;
        return glmq_fail_sys(err, errno, "%s", name);
    }
    return S_ISREG(st.st_mode) ? add_file(s, name, &st, err) : GLMQ_OK;
}

/* "NAME-00002-of-00005.gguf": where the part number begins, or NULL. */
static const char *split_number(const char *name)
{
    static const char form[] = "-#####-of-#####.gguf";
    const size_t len = strlen(name), tail = sizeof form - 1;
    const char *p;
    if (len < tail) return NULL;
    p = name + len - tail;
    for (size_t i = 0; i < tail; i++) {
        const int digit = p[i] >= '0' && p[i] <= '9';
        if (form[i] == '#' ? !digit : p[i] != form[i]) return NULL;
    }
    return p + 1;
}

enum { PART_DIGITS = 5 };

/* Do two names differ in nothing but the part number? */
static int same_split(const char *a, const char *b)
{
    const char *na = split_number(a), *nb = split_number(b);
    return na && nb && na - a == nb - b && memcmp(a, b, (size_t)(na - a)) == 0 &&
           strcmp(na + PART_DIGITS, nb + PART_DIGITS) == 0;
}

/* Adds every file of the folder; with `part`, only the parts of its split model. */
static glmq_status list_folder(glmq_source *s, const char *part, glmq_error *err)
{
    glmq_status st = GLMQ_OK;
    struct dirent *entry;
    DIR *dir;
    int fd = glmq_fault() ? (errno = EMFILE, -1)
                          : openat(s->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) return glmq_fail_sys(err, errno, "cannot list the folder");
    dir = fdopendir(fd);
    if (!dir) {
        st = glmq_fail_sys(err, errno, "cannot list the folder");
        close(fd);
        return st;
    }
    while (!st) {
        errno = glmq_fault() ? EIO : 0;
        entry = errno ? NULL : readdir(dir);
        if (!entry) {
            if (errno) st = glmq_fail_sys(err, errno, "cannot list the folder");
            break;
        }
        if (!part || same_split(part, entry->d_name)) st = add_name(s, entry->d_name, err);
    }
    closedir(dir);
    return st;
}

static glmq_status open_dir(glmq_source *s, const char *path, glmq_error *err)
{
    s->dir = glmq_fault() ? (errno = EIO, -1) : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return s->dir < 0 ? glmq_fail_sys(err, errno, "cannot open the folder") : GLMQ_OK;
}

static glmq_status open_file(glmq_source *s, const struct stat *st, glmq_error *err)
{
    const char *slash = strrchr(s->path, '/'), *name = slash ? slash + 1 : s->path;
    char *folder;
    glmq_status status;

    s->is_file = 1;
    folder = glmq_strdup(slash ? s->path : ".");
    if (!folder) return glmq_fail(err, GLMQ_E_NOMEM, "a path");
    if (slash) folder[slash == s->path ? 1 : slash - s->path] = '\0';
    status = open_dir(s, folder, err);
    glmq_free(folder);
    GLMQ_TRY(status);
    return split_number(name) ? list_folder(s, name, err) : add_file(s, name, st, err);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const file *)a)->name, ((const file *)b)->name);
}

static glmq_status index_names(glmq_source *s, glmq_error *err)
{
    if (s->count) qsort(s->files, s->count, sizeof *s->files, by_name);
    for (size_t i = 0; i < s->count; i++) {
        const char *name = s->files[i].name;
        if (glmq_strmap_add(&s->by_name, name, strlen(name), i, NULL) < 0)
            return glmq_fail(err, GLMQ_E_NOMEM, "an index of %zu files", s->count);
    }
    return GLMQ_OK;
}

/* Half of what the process may open: the output and the caller need some too. */
static size_t open_limit(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) || r.rlim_cur == RLIM_INFINITY) return OPEN_MAX_FILES;
    return r.rlim_cur / 2 < OPEN_MAX_FILES ? (size_t)r.rlim_cur / 2 : OPEN_MAX_FILES;
}

static glmq_status open_path(glmq_source *s, glmq_error *err)
{
    struct stat st;
    if (stat_at(AT_FDCWD, s->path, &st)) return glmq_fail_sys(err, errno, "cannot open");
    if (S_ISDIR(st.st_mode)) {
        GLMQ_TRY(open_dir(s, s->path, err));
        GLMQ_TRY(list_folder(s, NULL, err));
    } else if (S_ISREG(st.st_mode)) {
        GLMQ_TRY(open_file(s, &st, err));
    } else {
        return glmq_fail(err, GLMQ_E_FORMAT, "neither a folder nor a regular file");
    }
    return index_names(s, err);
}

glmq_status glmq_source_open(glmq_source **out, const char *path, const glmq_source_options *opt,
                             glmq_error *err)
{
    glmq_source *s;
    glmq_status st;
    (void)opt; /* folders and files need no scratch space */

    *out = NULL;
    s = glmq_alloc_zero(1, sizeof *s);
    if (!s) return glmq_fail(err, GLMQ_E_NOMEM, "%s: a source", path);
    s->dir = -1;
    s->limit = open_limit();
    pthread_mutex_init(&s->lock, NULL);
    s->path = glmq_strdup(path);
    st = s->path ? open_path(s, err) : glmq_fail(err, GLMQ_E_NOMEM, "a source");
    if (st) {
        glmq_source_close(s);
        return glmq_within(err, st, "%s", path);
    }
    *out = s;
    return GLMQ_OK;
}

void glmq_source_close(glmq_source *s)
{
    if (!s) return;
    for (size_t i = 0; i < s->count; i++)
        if (s->files[i].fd >= 0) close(s->files[i].fd);
    if (s->dir >= 0) close(s->dir);
    pthread_mutex_destroy(&s->lock);
    glmq_strmap_free(&s->by_name);
    glmq_arena_free(&s->names);
    glmq_free(s->files);
    glmq_free(s->path);
    glmq_free(s);
}

/* ---- what it holds ---- */

const char *glmq_source_path(const glmq_source *s)
{
    return s->path;
}

int glmq_source_is_file(const glmq_source *s)
{
    return s->is_file;
}

size_t glmq_source_count(const glmq_source *s)
{
    return s->count;
}

const char *glmq_source_name(const glmq_source *s, size_t i)
{
    return s->files[i].name;
}

uint64_t glmq_source_size(const glmq_source *s, size_t i)
{
    return s->files[i].size;
}

int64_t glmq_source_stamp(const glmq_source *s, size_t i)
{
    return s->files[i].stamp;
}

long glmq_source_find(const glmq_source *s, const char *name)
{
    uint64_t i;
    return glmq_strmap_get(&s->by_name, name, strlen(name), &i) ? (long)i : -1;
}

/* ---- reading ---- */

static glmq_status same_as_before(const file *f, const struct stat *st, glmq_error *err)
{
    if (!S_ISREG(st->st_mode))
        return glmq_fail(err, GLMQ_E_IO, "%s: no longer a regular file", f->name);
    if ((uint64_t)st->st_size != f->size)
        return glmq_fail(err, GLMQ_E_IO,
                         "%s: changed since it was opened: %" PRIu64 " bytes, was %" PRIu64,
                         f->name, (uint64_t)st->st_size, f->size);
    if (stamp_of(st) != f->stamp)
        return glmq_fail(err, GLMQ_E_IO,
                         "%s: changed since it was opened: modified at %" PRId64
                         " ns, was %" PRId64,
                         f->name, stamp_of(st), f->stamp);
    return GLMQ_OK;
}

/* Closes the file that was idle longest, when too many are open.  Under the lock. */
static void make_room(glmq_source *s)
{
    file *oldest = NULL;
    if (s->open < s->limit) return;
    for (size_t i = 0; i < s->count; i++) {
        file *f = &s->files[i];
        if (f->fd >= 0 && !f->users && (!oldest || f->used < oldest->used)) oldest = f;
    }
    if (!oldest) return;
    close(oldest->fd);
    oldest->fd = -1;
    s->open--;
}

/* O_NONBLOCK: should the name have become a pipe, do not wait for its writer. */
static glmq_status open_fd(glmq_source *s, file *f, glmq_error *err)
{
    struct stat st;
    glmq_status status;
    int fd;

    make_room(s);
    fd = glmq_fault() ? (errno = EIO, -1)
                      : openat(s->dir, f->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return glmq_fail_sys(err, errno, "%s: cannot open", f->name);
    status =
        fstat(fd, &st) ? glmq_fail_sys(err, errno, "%s", f->name) : same_as_before(f, &st, err);
    if (status) {
        close(fd);
        return status;
    }
    f->fd = fd;
    s->open++;
    return GLMQ_OK;
}

/* The handle is const to its callers; which files are open is nobody's business but ours. */
static glmq_source *unconst(const glmq_source *s)
{
    return (glmq_source *)(uintptr_t)s;
}

static glmq_status take_fd(glmq_source *s, file *f, int *fd, glmq_error *err)
{
    glmq_status st = GLMQ_OK;
    pthread_mutex_lock(&s->lock);
    if (f->fd < 0) st = open_fd(s, f, err);
    if (!st) {
        f->users++;
        f->used = ++s->clock;
        *fd = f->fd;
    }
    pthread_mutex_unlock(&s->lock);
    return st;
}

static void give_fd(glmq_source *s, file *f)
{
    pthread_mutex_lock(&s->lock);
    f->users--;
    pthread_mutex_unlock(&s->lock);
}

static glmq_status read_all(int fd, const file *f, uint64_t off, uint8_t *dst, size_t len,
                            glmq_error *err)
{
    while (len) {
        const size_t want = len < READ_MAX ? len : READ_MAX;
        const ssize_t n = glmq_fault() ? (errno = EIO, -1) : pread(fd, dst, want, (off_t)off);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0)
            return glmq_fail_sys(err, errno, "%s: cannot read at offset %" PRIu64, f->name, off);
        if (n == 0)
            return glmq_fail(err, GLMQ_E_IO,
                             "%s: ends at offset %" PRIu64 ", was %" PRIu64
                             " bytes when it was opened",
                             f->name, off, f->size);
        off += (uint64_t)n;
        dst += n;
        len -= (size_t)n;
    }
    return GLMQ_OK;
}

glmq_status glmq_source_read(const glmq_source *src, size_t i, uint64_t off, void *dst, size_t len,
                             glmq_error *err)
{
    glmq_source *s = unconst(src);
    file *f = &s->files[i];
    glmq_status st;
    int fd;

    if (!in_range(off, len, f->size))
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "%s: %zu bytes at offset %" PRIu64 ", file has %" PRIu64, f->name, len,
                         off, f->size);
    if (!len) return GLMQ_OK;
    GLMQ_TRY(take_fd(s, f, &fd, err));
    st = read_all(fd, f, off, dst, len, err);
    give_fd(s, f);
    return st;
}

void glmq_source_prefetch(const glmq_source *src, size_t i, uint64_t off, uint64_t len)
{
    glmq_source *s = unconst(src);
    file *f = &s->files[i];
    int fd;
    if (!len || !in_range(off, len, f->size) || take_fd(s, f, &fd, NULL)) return;
    (void)posix_fadvise(fd, (off_t)off, (off_t)len, POSIX_FADV_WILLNEED);
    give_fd(s, f);
}

/* Both what we hold open and what the name means now: a file may have been replaced. */
static glmq_status file_unchanged(glmq_source *s, file *f, glmq_error *err)
{
    glmq_status status = GLMQ_OK;
    struct stat st;
    pthread_mutex_lock(&s->lock);
    if (f->fd >= 0)
        status = fstat(f->fd, &st) ? glmq_fail_sys(err, errno, "%s", f->name)
                                   : same_as_before(f, &st, err);
    pthread_mutex_unlock(&s->lock);
    if (status) return status;
    if (stat_at(s->dir, f->name, &st)) return glmq_fail_sys(err, errno, "%s", f->name);
    return same_as_before(f, &st, err);
}

glmq_status glmq_source_unchanged(const glmq_source *src, glmq_error *err)
{
    glmq_source *s = unconst(src);
    for (size_t i = 0; i < s->count; i++) GLMQ_TRY(file_unchanged(s, &s->files[i], err));
    return GLMQ_OK;
}
