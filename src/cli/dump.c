/* Dumps.  A NumPy file (version 1.0):
 *
 *   0   "\x93NUMPY" 1 0
 *   8   u16 length of the header text
 *   10  {'descr': '<f4', 'fortran_order': False, 'shape': (R, C), } padded with spaces to a
 *       multiple of 64, ends in a line feed
 *   ..  the values, row-major
 *
 * A dump is written as PATH.partial and renamed. */
#include "dump.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/safe.h"
#include "io/out.h"
#include "models/fetch.h"
#include <stdio.h>
#include <string.h>

static const char *const slot_names[GLMQ_SLOTS] = {
    [GLMQ_SLOT_CODES] = "codes",
    [GLMQ_SLOT_SCALES] = "scales",
    [GLMQ_SLOT_ZEROS] = "zeros",
    [GLMQ_SLOT_PERM] = "perm",
    [GLMQ_SLOT_SHAPE] = "shape",
    [GLMQ_SLOT_GLOBAL] = "global",
    [GLMQ_SLOT_INPUT_SCALE] = "input_scale",
    [GLMQ_SLOT_BOOK] = "book",
};

/* A file on its way. */
typedef struct dump {
    const char *path;
    char partial[4096];
    glmq_out *out;
} dump;

static glmq_status open_dump(dump *d, const char *path, uint64_t bytes, glmq_error *err)
{
    *d = (dump){ .path = path };
    if ((size_t)snprintf(d->partial, sizeof d->partial, "%s.partial", path) >= sizeof d->partial)
        return glmq_fail(err, GLMQ_E_ARG, "%s: the name is too long", path);
    if (glmq_out_exists(path)) return glmq_fail(err, GLMQ_E_EXISTS, "%s: exists", path);
    return glmq_out_open(&d->out, d->partial, bytes, err);
}

/* Renames on success, removes otherwise. */
static glmq_status close_dump(dump *d, glmq_status st, glmq_error *err)
{
    if (!d->out) return st;
    if (!st) st = glmq_out_sync(d->out, err);
    glmq_out_close(d->out);
    if (!st) st = glmq_out_rename(d->partial, d->path, err);
    if (st) remove(d->partial);
    return st;
}

/* ---- values ---- */

enum { NPY_HEADER = 128 };

static void npy_header(uint8_t header[NPY_HEADER], const glmq_tensor *t)
{
    char shape[64];

    if (t->rank == 1)
        snprintf(shape, sizeof shape, "(%" PRIu64 ",)", t->rows * t->cols);
    else
        snprintf(shape, sizeof shape, "(%" PRIu64 ", %" PRIu64 ")", t->rows, t->cols);
    memset(header, ' ', NPY_HEADER);
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    store_le16(header + 8, NPY_HEADER - 10);
    const int n = snprintf((char *)header + 10, NPY_HEADER - 10,
                           "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }", shape);
    header[10 + n] = ' ';
    header[NPY_HEADER - 1] = '\n';
}

static glmq_status write_values(const glmq_graph *g, const glmq_tensor *t, glmq_tensor_fetch *f,
                                float *w, uint64_t tile, glmq_out *out, glmq_error *err)
{
    const glmq_source *src = glmq_graph_source(g);

    GLMQ_TRY(glmq_within(err, glmq_tensor_fetch_open(f, src, t, err), "%s", glmq_source_path(src)));
    for (uint64_t row = 0; row < t->rows; row += tile) {
        const uint64_t rows = tile < t->rows - row ? tile : t->rows - row;
        GLMQ_TRY(glmq_within(err, glmq_tensor_fetch_rows(f, row, rows, w, err), "%s",
                             glmq_source_path(src)));
        GLMQ_TRY(glmq_out_write(out, NPY_HEADER + row * t->cols * sizeof *w, w,
                                (size_t)(rows * t->cols) * sizeof *w, err));
    }
    return GLMQ_OK;
}

glmq_status glmq_dump_values(const glmq_graph *g, const glmq_tensor *t, const char *path,
                             glmq_error *err)
{
    const uint64_t bytes = t->rows * t->cols * sizeof(float), tile = glmq_tensor_tile_rows(t);
    uint8_t header[NPY_HEADER];
    dump d;
    glmq_status st = open_dump(&d, path, NPY_HEADER + bytes, err);

    if (st) return st;
    glmq_tensor_fetch *f = glmq_tensor_fetch_new();
    float *w = glmq_alloc((size_t)(tile * t->cols) * sizeof *w);
    npy_header(header, t);
    st = f && w ? glmq_out_write(d.out, 0, header, sizeof header, err)
                : glmq_fail(err, GLMQ_E_NOMEM, "%s: a tile of values", t->name);
    if (!st) st = write_values(g, t, f, w, tile, d.out, err);
    glmq_tensor_fetch_free(f);
    glmq_free(w);
    return close_dump(&d, st, err);
}

/* ---- stored bytes ---- */

enum { COPY_CHUNK = 1 << 20 };

static glmq_status copy_span(const glmq_graph *g, const glmq_span *span, glmq_out *out,
                             glmq_error *err)
{
    uint8_t *chunk = glmq_alloc(COPY_CHUNK);
    glmq_status st =
        chunk ? GLMQ_OK : glmq_fail(err, GLMQ_E_NOMEM, "a buffer of %d bytes", COPY_CHUNK);

    for (uint64_t off = 0; off < span->bytes && !st; off += COPY_CHUNK) {
        const uint64_t left = span->bytes - off;
        const size_t len = left < COPY_CHUNK ? (size_t)left : (size_t)COPY_CHUNK;
        st =
            glmq_source_read(glmq_graph_source(g), span->file, span->offset + off, chunk, len, err);
        if (!st) st = glmq_out_write(out, off, chunk, len, err);
    }
    glmq_free(chunk);
    return st;
}

static glmq_status dump_slot(const glmq_graph *g, const glmq_tensor *t, int part, int slot,
                             const char *path, glmq_error *err)
{
    const glmq_span *span = &t->part[part].span[slot];
    glmq_text name = { 0 };
    dump d = { 0 };
    glmq_status st;

    if (!span->bytes) return GLMQ_OK;
    glmq_text_add(&name, path);
    if (t->parts > 1) glmq_text_printf(&name, ".%d", part);
    glmq_text_printf(&name, ".%s", slot_names[slot]);
    st = name.failed ? glmq_fail(err, GLMQ_E_NOMEM, "%s", path)
                     : open_dump(&d, name.data, span->bytes, err);
    if (!st) st = close_dump(&d, copy_span(g, span, d.out, err), err);
    if (!st) printf("%s\n", name.data);
    glmq_text_free(&name);
    return st;
}

glmq_status glmq_dump_stored(const glmq_graph *g, const glmq_tensor *t, const char *path,
                             glmq_error *err)
{
    for (int part = 0; part < t->parts; part++)
        for (int slot = 0; slot < GLMQ_SLOTS; slot++)
            GLMQ_TRY(dump_slot(g, t, part, slot, path, err));
    return GLMQ_OK;
}
