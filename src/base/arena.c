/* Blocks in a list, the newest first; pieces are cut from the newest block.  A piece
 * larger than a quarter of a block gets a block of its own behind the newest, so that
 * the rest of the newest is not lost. */
#include "base/arena.h"
#include "base/mem.h"
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { ALIGN = 16, DEFAULT_BLOCK = 64 * 1024 };

struct arena_block {
    struct arena_block *next;
    size_t used, bytes; /* of data */
    _Alignas(ALIGN) unsigned char data[];
};

static struct arena_block *new_block(size_t bytes)
{
    struct arena_block *b;
    if (bytes > SIZE_MAX - sizeof *b) return NULL;
    b = glmq_alloc_zero(1, sizeof *b + bytes);
    if (b) b->bytes = bytes;
    return b;
}

static void *alloc_alone(glmq_arena *a, size_t bytes)
{
    struct arena_block *b = new_block(bytes);
    if (!b) return NULL;
    b->used = bytes;
    if (a->head) {
        b->next = a->head->next;
        a->head->next = b;
    } else {
        a->head = b;
    }
    return b->data;
}

void *glmq_arena_alloc(glmq_arena *a, size_t bytes)
{
    const size_t block = a->block_bytes ? a->block_bytes : DEFAULT_BLOCK;
    struct arena_block *b = a->head;
    void *p;

    if (bytes > SIZE_MAX - ALIGN) return NULL;
    bytes = (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (!b || bytes > b->bytes - b->used) {
        if (bytes > block / 4) return alloc_alone(a, bytes);
        b = new_block(block);
        if (!b) return NULL;
        b->next = a->head;
        a->head = b;
    }
    p = b->data + b->used;
    b->used += bytes;
    return p;
}

char *glmq_arena_strndup(glmq_arena *a, const char *s, size_t len)
{
    char *copy = len < SIZE_MAX ? glmq_arena_alloc(a, len + 1) : NULL;
    if (copy && len) memcpy(copy, s, len);
    return copy;
}

char *glmq_arena_strdup(glmq_arena *a, const char *s)
{
    return glmq_arena_strndup(a, s, strlen(s));
}

char *glmq_arena_printf(glmq_arena *a, const char *format, ...)
{
    va_list args;
    char *text;
    int len;

    va_start(args, format);
    len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len < 0) return NULL;
    text = glmq_arena_alloc(a, (size_t)len + 1);
    if (!text) return NULL;
    va_start(args, format);
    vsnprintf(text, (size_t)len + 1, format, args);
    va_end(args);
    return text;
}

void glmq_arena_free(glmq_arena *a)
{
    while (a->head) {
        struct arena_block *b = a->head;
        a->head = b->next;
        glmq_free(b);
    }
}
