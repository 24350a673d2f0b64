/* The GPU stage of a library that was built without CUDA: there are no devices. */
#include "base/error.h"
#include "gpu/gpu.h"

int glmq_gpu_count(void)
{
    return 0;
}

glmq_status glmq_gpu_describe(int device, glmq_gpu_info *out, glmq_error *err)
{
    *out = (glmq_gpu_info){ 0 };
    return glmq_fail(err, GLMQ_E_DEVICE, "device %d: glmq was built without CUDA", device);
}
