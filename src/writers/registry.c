/* The writers by number and name: from table.h. */
#include "writers/writer.h"
#include "base/mem.h"
#include <string.h>

static const glmq_writer *const writers[] = {
#define X(symbol) &glmq_writer_##symbol,
#include "writers/table.h"
#undef X
};

size_t glmq_writer_count(void)
{
    return GLMQ_COUNT(writers);
}

const glmq_writer *glmq_writer_at(size_t i)
{
    return i < GLMQ_COUNT(writers) ? writers[i] : NULL;
}

const glmq_writer *glmq_writer_find(const char *name)
{
    for (size_t i = 0; i < GLMQ_COUNT(writers); i++)
        if (strcmp(writers[i]->name, name) == 0) return writers[i];
    return NULL;
}
