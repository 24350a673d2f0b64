/* Output files.  Every system call that can fail for outside reasons asks the fault shim
 * first; interrupted calls are made again; a full disk has a message of its own. */
#include "io/out.h"
#include "base/error.h"
#include "base/fault.h"
#include "base/mem.h"
#include "base/safe.h"
#include "base/text.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#if defined(__linux__)
#include <linux/magic.h>
#include <sys/vfs.h>
#endif

enum {
    WRITE_MAX = 1 << 30, /* bytes in one call: Linux stops short of 2 GiB */
    TREE_DEPTH = 64,
    BLOCK = 4096, /* what O_DIRECT asks for, of offset, length and memory */
    BOUNCE = 1 << 20
};

struct glmq_out {
    int fd;
    int direct; /* the same file with O_DIRECT; -1: none */
    char *path;
    pthread_mutex_t turn;
};

/* ---- system calls behind the shim ---- */

/* 1, with errno set, when a test wants the next call to fail. */
static int faulty(int sys)
{
    if (!glmq_fault()) return 0;
    errno = sys;
    return 1;
}

static int sys_open(int dir, const char *path, int flags)
{
    int fd;
    if (faulty(EIO)) return -1;
    do fd = openat(dir, path, flags | O_CLOEXEC, 0666);
    while (fd < 0 && errno == EINTR);
    return fd;
}

static int sys_sync(int fd, int data_only)
{
    int r;
    if (faulty(EIO)) return -1;
    do r = data_only ? fdatasync(fd) : fsync(fd);
    while (r && errno == EINTR);
    return r;
}

static int sys_truncate(int fd, uint64_t bytes)
{
    int r;
    if (faulty(ENOSPC)) return -1;
    do r = ftruncate(fd, (off_t)bytes);
    while (r && errno == EINTR);
    return r;
}

/* tmpfs makes every page at once, in this thread, for a file that has no extents to keep
 * together: a quarter of a run's time. */
static int in_memory(int fd)
{
#if defined(__linux__)
    struct statfs fs;
    return !fstatfs(fd, &fs) && fs.f_type == TMPFS_MAGIC;
#else
    (void)fd;
    return 0;
#endif
}

static int sys_allocate(int fd, uint64_t bytes)
{
#if defined(__linux__)
    /* not posix_fallocate: where it is not supported, glibc's writes to every block */
    int r;
    if (faulty(ENOSPC)) return -1;
    if (in_memory(fd)) {
        errno = EOPNOTSUPP;
        return -1;
    }
    do r = fallocate(fd, 0, 0, (off_t)bytes);
    while (r && errno == EINTR);
    return r;
#else
    (void)fd, (void)bytes;
    errno = EOPNOTSUPP;
    return -1;
#endif
}

static int is_full(int sys)
{
    return sys == ENOSPC || sys == EDQUOT;
}

static glmq_status fail_write(glmq_error *err, int sys, const char *path, uint64_t off,
                              uint64_t len)
{
    glmq_status st;
    if (!is_full(sys))
        return glmq_fail_sys(err, sys, "%s: cannot write %" PRIu64 " bytes at offset %" PRIu64,
                             path, len, off);
    st = glmq_fail(err, GLMQ_E_IO, "%s: no space left for %" PRIu64 " bytes at offset %" PRIu64,
                   path, len, off);
    if (err) err->sys = sys;
    return st;
}

/* ---- one file ---- */

static glmq_status no_room(glmq_error *err, const char *path, uint64_t bytes, uint64_t free_bytes)
{
    glmq_status st = glmq_fail(err, GLMQ_E_IO,
                               "%s: no space left: needs %" PRIu64 " bytes, %" PRIu64 " are free",
                               path, bytes, free_bytes);
    if (err) err->sys = ENOSPC;
    return st;
}

/* Asking for more than there is would fill the disk before it fails: a check first keeps
 * what others write next to us alive. */
static glmq_status reserve(const glmq_out *f, glmq_error *err, uint64_t bytes)
{
    struct stat st;
    uint64_t has, space;
    if (fstat(f->fd, &st)) return glmq_fail_sys(err, errno, "%s", f->path);
    if (!S_ISREG(st.st_mode))
        return glmq_fail(err, GLMQ_E_EXISTS, "%s: exists and is no regular file", f->path);
    if ((uint64_t)st.st_size > bytes && sys_truncate(f->fd, bytes))
        return fail_write(err, errno, f->path, 0, bytes);
    if (!bytes) return GLMQ_OK;
    has = (uint64_t)st.st_blocks * 512;
    GLMQ_TRY(glmq_out_space(f->path, &space, err));
    if (bytes > has && bytes - has > space) return no_room(err, f->path, bytes - has, space);
    if (!sys_allocate(f->fd, bytes)) return GLMQ_OK;
    if (is_full(errno)) return no_room(err, f->path, bytes, space);
    /* a file system that cannot reserve: the check above has to do */
    if ((errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL) && !sys_truncate(f->fd, bytes))
        return GLMQ_OK;
    return fail_write(err, errno, f->path, 0, bytes);
}

glmq_status glmq_out_open(glmq_out **out, const char *path, uint64_t bytes, glmq_error *err)
{
    glmq_status st;
    glmq_out *f;

    *out = NULL;
    if (bytes > INT64_MAX)
        return glmq_fail(err, GLMQ_E_LIMIT, "%s: %" PRIu64 " bytes, at most %" PRId64, path, bytes,
                         INT64_MAX);
    f = glmq_alloc_zero(1, sizeof *f);
    if (!f) return glmq_fail(err, GLMQ_E_NOMEM, "%s: an output file", path);
    f->direct = -1;
    pthread_mutex_init(&f->turn, NULL);
    f->path = glmq_strdup(path);
    f->fd = f->path ? sys_open(AT_FDCWD, path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK) : -1;
    if (!f->path)
        st = glmq_fail(err, GLMQ_E_NOMEM, "%s: an output file", path);
    else if (f->fd < 0)
        st = is_full(errno) ? fail_write(err, errno, path, 0, bytes)
                            : glmq_fail_sys(err, errno, "%s: cannot create", path);
    else
        st = reserve(f, err, bytes);
    if (st) {
        glmq_out_close(f);
        return st;
    }
    *out = f;
    return GLMQ_OK;
}

static glmq_status write_all(int fd, const char *path, uint64_t off, const uint8_t *data,
                             size_t len, glmq_error *err)
{
    while (len) {
        const size_t some = len < WRITE_MAX ? len : WRITE_MAX;
        const ssize_t n = faulty(ENOSPC) ? -1 : pwrite(fd, data, some, (off_t)off);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_write(err, errno, path, off, len);
        off += (uint64_t)n;
        data += n;
        len -= (size_t)n;
    }
    return GLMQ_OK;
}

glmq_status glmq_out_direct(glmq_out *f, glmq_error *err)
{
#ifdef O_DIRECT
    if (f->direct >= 0) return GLMQ_OK;
    f->direct = sys_open(AT_FDCWD, f->path, O_WRONLY | O_NOFOLLOW | O_DIRECT);
    if (f->direct < 0 && errno != EINVAL && errno != EOPNOTSUPP)
        return glmq_fail_sys(err, errno, "%s: cannot open for direct output", f->path);
#else
    (void)f, (void)err;
#endif
    return GLMQ_OK;
}

/* Whole blocks, through memory as aligned as the device wants it. */
static glmq_status write_blocks(const glmq_out *f, uint64_t off, const uint8_t *data, size_t len,
                                glmq_error *err)
{
    glmq_status st = GLMQ_OK;
    const size_t room = len < BOUNCE ? len : BOUNCE;
    uint8_t *memory = glmq_alloc(room + BLOCK), *bounce;
    if (!memory) return glmq_fail(err, GLMQ_E_NOMEM, "%s: a buffer for direct output", f->path);
    bounce = memory + (BLOCK - (uintptr_t)memory % BLOCK) % BLOCK;
    for (size_t at = 0, n; at < len && !st; at += n) {
        n = len - at < room ? len - at : room;
        memcpy(bounce, data + at, n);
        st = write_all(f->direct, f->path, off + at, bounce, n, err);
    }
    glmq_free(memory);
    return st;
}

glmq_status glmq_out_write(glmq_out *f, uint64_t off, const void *data, size_t len, glmq_error *err)
{
    const uint8_t *p = data;
    const size_t head = (size_t)((BLOCK - off % BLOCK) % BLOCK);
    size_t body;
    if (!in_range(off, len, INT64_MAX))
        return glmq_fail(err, GLMQ_E_LIMIT, "%s: offset %" PRIu64 " of a write", f->path, off);
    if (f->direct < 0 || len < head + BLOCK) return write_all(f->fd, f->path, off, p, len, err);
    body = (len - head) / BLOCK * BLOCK;
    GLMQ_TRY(write_all(f->fd, f->path, off, p, head, err));
    GLMQ_TRY(write_blocks(f, off + head, p + head, body, err));
    return write_all(f->fd, f->path, off + head + body, p + head + body, len - head - body, err);
}

glmq_status glmq_out_read(glmq_out *f, uint64_t off, void *data, size_t len, glmq_error *err)
{
    uint8_t *p = data;
    while (len) {
        const size_t some = len < WRITE_MAX ? len : WRITE_MAX;
        const ssize_t n = faulty(EIO) ? -1 : pread(f->fd, p, some, (off_t)off);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0)
            return glmq_fail_sys(err, errno, "%s: cannot read back at offset %" PRIu64, f->path,
                                 off);
        if (n == 0)
            return glmq_fail(err, GLMQ_E_IO, "%s: ends at offset %" PRIu64 ", %zu bytes short",
                             f->path, off, len);
        off += (uint64_t)n;
        p += n;
        len -= (size_t)n;
    }
    return GLMQ_OK;
}

glmq_status glmq_out_sync(glmq_out *f, glmq_error *err)
{
    if (!sys_sync(f->fd, 1)) return GLMQ_OK;
    if (is_full(errno)) return fail_write(err, errno, f->path, 0, 0);
    return glmq_fail_sys(err, errno, "%s: cannot make it durable", f->path);
}

int glmq_out_take_turn(glmq_out *f, int wait)
{
    return (wait ? pthread_mutex_lock(&f->turn) : pthread_mutex_trylock(&f->turn)) == 0;
}

void glmq_out_end_turn(glmq_out *f)
{
    pthread_mutex_unlock(&f->turn);
}

void glmq_out_close(glmq_out *f)
{
    if (!f) return;
    if (f->fd >= 0) close(f->fd);
    if (f->direct >= 0) close(f->direct);
    pthread_mutex_destroy(&f->turn);
    glmq_free(f->path);
    glmq_free(f);
}

/* ---- small files, folders, names ---- */

static glmq_status write_new(const char *path, const void *data, size_t len, glmq_error *err)
{
    glmq_status st;
    const int fd = sys_open(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW);
    if (fd < 0)
        return is_full(errno) ? fail_write(err, errno, path, 0, len)
                              : glmq_fail_sys(err, errno, "%s: cannot create", path);
    st = write_all(fd, path, 0, data, len, err);
    if (!st && sys_sync(fd, 0)) st = glmq_fail_sys(err, errno, "%s: cannot make it durable", path);
    if (close(fd) && !st) st = glmq_fail_sys(err, errno, "%s: cannot close", path);
    return st;
}

/* Written beside its place under a fixed name and renamed over it: a reader sees the old
 * file or the new one, and a crash leaves nothing that the next call does not replace. */
glmq_status glmq_out_file(const char *path, const void *data, size_t len, glmq_error *err)
{
    glmq_text beside = { 0 };
    glmq_status st;
    glmq_text_printf(&beside, "%s.tmp", path);
    if (beside.failed) {
        glmq_text_free(&beside);
        return glmq_fail(err, GLMQ_E_NOMEM, "%s: an output file", path);
    }
    st = write_new(beside.data, data, len, err);
    if (!st) st = glmq_out_rename(beside.data, path, err);
    if (st) unlink(beside.data);
    glmq_text_free(&beside);
    return st;
}

glmq_status glmq_out_mkdir(const char *path, glmq_error *err)
{
    struct stat st;
    if (!faulty(ENOSPC) && mkdir(path, 0777) == 0) return GLMQ_OK;
    if (is_full(errno)) return fail_write(err, errno, path, 0, 0);
    if (errno != EEXIST) return glmq_fail_sys(err, errno, "%s: cannot create the folder", path);
    if (stat(path, &st) || !S_ISDIR(st.st_mode))
        return glmq_fail(err, GLMQ_E_EXISTS, "%s: exists and is no folder", path);
    return GLMQ_OK;
}

glmq_status glmq_out_sync_dir(const char *path, glmq_error *err)
{
    glmq_status st = GLMQ_OK;
    const int fd = sys_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY);
    if (fd < 0) return glmq_fail_sys(err, errno, "%s: cannot open the folder", path);
    /* some network file systems cannot sync a folder and say EINVAL */
    if (sys_sync(fd, 0) && errno != EINVAL)
        st = glmq_fail_sys(err, errno, "%s: cannot make the folder durable", path);
    close(fd);
    return st;
}

glmq_status glmq_out_rename(const char *from, const char *to, glmq_error *err)
{
    if (!faulty(EIO) && rename(from, to) == 0) return GLMQ_OK;
    if (errno == EEXIST || errno == ENOTEMPTY)
        return glmq_fail(err, GLMQ_E_EXISTS, "%s: exists, %s cannot take its place", to, from);
    return glmq_fail_sys(err, errno, "%s: cannot be renamed to %s", from, to);
}

static glmq_status remove_inside(int fd, int depth, const char *last, glmq_error *err);

/* Removes one entry of the folder `dir`; of what it holds, `last` goes last. */
static glmq_status remove_entry(int dir, const char *name, int depth, const char *last,
                                glmq_error *err)
{
    glmq_status st;
    int fd;
    if (faulty(EIO)) return glmq_fail_sys(err, errno, "%s: cannot remove", name);
    if (unlinkat(dir, name, 0) == 0 || errno == ENOENT) return GLMQ_OK;
    if (errno != EISDIR && errno != EPERM) /* POSIX says EPERM for a folder, Linux EISDIR */
        return glmq_fail_sys(err, errno, "%s: cannot remove", name);
    if (depth == TREE_DEPTH)
        return glmq_fail(err, GLMQ_E_LIMIT, "%s: folders nested deeper than %d", name, TREE_DEPTH);
    fd = sys_open(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (fd < 0) return glmq_fail_sys(err, errno, "%s: cannot open", name);
    st = remove_inside(fd, depth + 1, last, err);
    if (st) return glmq_within(err, st, "%s", name);
    if (unlinkat(dir, name, AT_REMOVEDIR))
        return glmq_fail_sys(err, errno, "%s: cannot remove", name);
    return GLMQ_OK;
}

/* Empties the folder; `fd` is closed. */
static glmq_status remove_inside(int fd, int depth, const char *last, glmq_error *err)
{
    glmq_status st = GLMQ_OK;
    struct dirent *entry;
    DIR *dir = fdopendir(fd);
    if (!dir) {
        st = glmq_fail_sys(err, errno, "cannot list the folder");
        close(fd);
        return st;
    }
    while (!st) {
        errno = 0;
        entry = readdir(dir);
        if (!entry) {
            if (errno) st = glmq_fail_sys(err, errno, "cannot list the folder");
            break;
        }
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..") &&
            (!last || strcmp(entry->d_name, last)))
            st = remove_entry(dirfd(dir), entry->d_name, depth, NULL, err);
    }
    if (!st && last) st = remove_entry(dirfd(dir), last, depth, NULL, err);
    closedir(dir);
    return st;
}

glmq_status glmq_out_remove_tree(const char *path, glmq_error *err)
{
    return remove_entry(AT_FDCWD, path, 0, NULL, err);
}

glmq_status glmq_out_remove_marked(const char *path, const char *mark, glmq_error *err)
{
    return remove_entry(AT_FDCWD, path, 0, mark, err);
}

glmq_status glmq_out_link(const char *from, const char *to, glmq_error *err)
{
    if (!faulty(EIO) && link(from, to) == 0) return GLMQ_OK;
    if (errno == EXDEV || errno == EPERM || errno == EMLINK || errno == EOPNOTSUPP ||
        errno == EACCES)
        return glmq_fail(err, GLMQ_E_UNSUPPORTED, "%s: cannot be linked to %s", from, to);
    return glmq_fail_sys(err, errno, "%s: cannot be linked to %s", from, to);
}

int glmq_out_exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

/* Cuts the last name off a path in place; 0 when nothing is left to cut. */
static int parent_of(char *path)
{
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/') len--;
    while (len && path[len - 1] != '/') len--;
    while (len > 1 && path[len - 1] == '/') len--;
    if (!len) {
        if (strcmp(path, ".") == 0) return 0;
        strcpy(path, "."); /* there was at least one character */
        return 1;
    }
    if (!path[len]) return 0;
    path[len] = '\0';
    return 1;
}

glmq_status glmq_out_space(const char *path, uint64_t *bytes, glmq_error *err)
{
    struct statvfs fs;
    glmq_status st = GLMQ_OK;
    char *at = glmq_strdup(*path ? path : ".");
    int r;

    if (!at) return glmq_fail(err, GLMQ_E_NOMEM, "%s: a path", path);
    do r = faulty(EIO) ? -1 : statvfs(at, &fs);
    while (r && (errno == EINTR || ((errno == ENOENT || errno == ENOTDIR) && parent_of(at))));
    if (r)
        st = glmq_fail_sys(err, errno, "%s: cannot ask for the free space", path);
    else if (mul_u64(fs.f_bavail, fs.f_frsize, bytes))
        *bytes = UINT64_MAX;
    glmq_free(at);
    return st;
}

glmq_status glmq_out_lock(const char *path, int *fd, glmq_error *err)
{
    int r, sys;
    *fd = sys_open(AT_FDCWD, path, O_RDWR | O_CREAT | O_NOFOLLOW);
    if (*fd < 0) return glmq_fail_sys(err, errno, "%s: cannot create", path);
    do r = faulty(ENOLCK) ? -1 : flock(*fd, LOCK_EX | LOCK_NB);
    while (r && errno == EINTR);
    if (!r) return GLMQ_OK;
    sys = errno;
    close(*fd);
    *fd = -1;
    if (sys == EWOULDBLOCK)
        return glmq_fail(err, GLMQ_E_EXISTS, "%s: another process is writing here", path);
    return glmq_fail_sys(err, sys, "%s: cannot lock", path);
}
