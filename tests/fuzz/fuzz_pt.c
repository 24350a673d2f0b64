/* A PyTorch file, asked for arrays of several sizes. */
#include "codecs/dtype.h"
#include "fuzz.h"
#include "readers/torch_pt.h"

static volatile uint8_t seen; /* every byte is touched, for AddressSanitizer */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const uint64_t sizes[][2] = { { 16, 4 }, { 4, 16 }, { 256, 8 }, { 1, 1 }, { 2, 1 } };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        glmq_torch_array a;
        glmq_error err = { 0 };
        uint64_t want;

        if (glmq_torch_find(data, len, sizes[i][0], sizes[i][1], &a, &err)) {
            if (!err.msg[0]) fuzz_broken("a refusal without a message");
            continue;
        }
        if (glmq_dtype_bytes(a.dtype, sizes[i][0] * sizes[i][1], &want) || want != a.bytes)
            fuzz_broken("an array of another size than was asked for");
        if (a.data < data || a.bytes > len || (size_t)(a.data - data) > len - a.bytes)
            fuzz_broken("an array outside the file");
        for (uint64_t k = 0; k < a.bytes; k++) seen = a.data[k];
    }
    return 0;
}
