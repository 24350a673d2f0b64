/* A GGUF file, as it is. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    fuzz_catalog(data, len);
    return 0;
}
