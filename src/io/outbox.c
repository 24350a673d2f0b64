#include "io/outbox.h"
#include "base/error.h"
#include "base/mem.h"
#include <string.h>

enum { LETTERS = 256 };

typedef struct letter {
    glmq_out *file;
    uint64_t off;
    size_t at, len; /* in the box's memory */
} letter;

struct glmq_outbox {
    letter letter[LETTERS];
    size_t count, used;
    uint8_t *memory;
};

glmq_outbox *glmq_outbox_new(void)
{
    glmq_outbox *b = glmq_alloc_zero(1, sizeof *b);
    if (!b) return NULL;
    b->memory = glmq_alloc(GLMQ_OUTBOX_BYTES);
    if (b->memory) return b;
    glmq_free(b);
    return NULL;
}

void glmq_outbox_free(glmq_outbox *b)
{
    if (!b) return;
    glmq_free(b->memory);
    glmq_free(b);
}

int glmq_outbox_is_empty(const glmq_outbox *b)
{
    return b->count == 0;
}

/* What waits for the file whose turn the caller has.  Letters of others stay, in their order. */
static glmq_status write_letters(glmq_outbox *b, glmq_out *file, glmq_error *err)
{
    size_t kept = 0;
    for (size_t i = 0; i < b->count; i++) {
        const letter l = b->letter[i];
        if (l.file == file)
            GLMQ_TRY(glmq_out_write(file, l.off, b->memory + l.at, l.len, err));
        else
            b->letter[kept++] = l;
    }
    b->count = kept;
    if (!kept) b->used = 0;
    return GLMQ_OK;
}

static void keep(glmq_outbox *b, glmq_out *file, uint64_t off, const void *data, size_t len)
{
    memcpy(b->memory + b->used, data, len);
    b->letter[b->count++] = (letter){ file, off, b->used, len };
    b->used += len;
}

glmq_status glmq_outbox_flush(glmq_outbox *b, glmq_error *err)
{
    while (b->count) {
        glmq_out *file = b->letter[0].file;
        glmq_status st;
        glmq_out_take_turn(file, 1);
        st = write_letters(b, file, err);
        glmq_out_end_turn(file);
        if (st) return st;
    }
    return GLMQ_OK;
}

glmq_status glmq_outbox_write(glmq_outbox *b, glmq_out *file, uint64_t off, const void *data,
                              size_t len, glmq_error *err)
{
    const int fits = b->count < LETTERS && len <= GLMQ_OUTBOX_BYTES - b->used;
    glmq_status st;

    if (!fits) GLMQ_TRY(glmq_outbox_flush(b, err));
    if (!glmq_out_take_turn(file, !fits)) {
        keep(b, file, off, data, len);
        return GLMQ_OK;
    }
    st = write_letters(b, file, err);
    if (!st) st = glmq_out_write(file, off, data, len, err);
    glmq_out_end_turn(file);
    return st;
}
