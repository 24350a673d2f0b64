/* The C face of the GPU stage.  device.cu stands behind it where the library is built with
 * CUDA, gpu_none.c where it is not; callers cannot tell, they only see no devices. */
#ifndef GLMQ_GPU_GPU_H
#define GLMQ_GPU_GPU_H

#include "glmq/error.h"
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct glmq_gpu_info {
    char name[256];
    int major, minor;             /* compute capability */
    uint64_t memory, memory_free; /* bytes              */
} glmq_gpu_info;

/* How many devices can be used: 0 also where there is no driver. */
int glmq_gpu_count(void);
/* GLMQ_E_DEVICE when there is no such device or the driver fails. */
glmq_status glmq_gpu_describe(int device, glmq_gpu_info *out, glmq_error *err);

#ifdef __cplusplus
}
#endif
#endif
