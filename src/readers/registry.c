/* The readers, in the order of table.h. */
#include "readers/reader.h"
#include "base/mem.h"
#include <string.h>

#define X(symbol) &glmq_reader_##symbol,
static const glmq_reader *const readers[] = {
#include "readers/table.h"
};
#undef X

size_t glmq_reader_count(void)
{
    return GLMQ_COUNT(readers);
}

const glmq_reader *glmq_reader_at(size_t i)
{
    return i < GLMQ_COUNT(readers) ? readers[i] : NULL;
}

const glmq_reader *glmq_reader_find(const char *name)
{
    for (size_t i = 0; i < GLMQ_COUNT(readers); i++)
        if (strcmp(readers[i]->name, name) == 0) return readers[i];
    return NULL;
}
