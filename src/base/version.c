/* The version of the library at run time. */
#include "glmq/glmq.h"

const char *glmq_version(void)
{
    return GLMQ_VERSION;
}
