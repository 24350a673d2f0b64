/* Which GPUs there are.  A machine without a driver has none: that is no error. */
#include "gpu/gpu.h"
#include <cuda_runtime_api.h>
#include <stdio.h>
#include <string.h>

/* base/error.h is C only: its inttypes and macros are not needed here */
extern "C" glmq_status glmq_fail(glmq_error *err, glmq_status status, const char *format, ...);

int glmq_gpu_count(void)
{
    int n = 0;
    return cudaGetDeviceCount(&n) == cudaSuccess ? n : 0;
}

glmq_status glmq_gpu_describe(int device, glmq_gpu_info *out, glmq_error *err)
{
    cudaDeviceProp p;
    size_t idle = 0, all = 0;
    cudaError_t e = cudaSetDevice(device);
    memset(out, 0, sizeof *out);
    if (e == cudaSuccess) e = cudaGetDeviceProperties(&p, device);
    if (e == cudaSuccess) e = cudaMemGetInfo(&idle, &all);
    if (e != cudaSuccess)
        return glmq_fail(err, GLMQ_E_DEVICE, "device %d: %s", device, cudaGetErrorString(e));
    snprintf(out->name, sizeof out->name, "%s", p.name);
    out->major = p.major;
    out->minor = p.minor;
    out->memory = all;
    out->memory_free = idle;
    return GLMQ_OK;
}
