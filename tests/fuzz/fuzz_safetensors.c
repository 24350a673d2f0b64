/* A safetensors file: the length in front is made to fit, so that the fuzzer works on the
 * JSON and the data; an input that begins with 0xff is taken as it is. */
#include "fuzz.h"
#include <stdlib.h>
#include <string.h>

/* The input is "JSON, a NUL, data" in place of "length, JSON, data". */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const uint8_t *cut = len ? memchr(data, 0, len) : NULL;
    uint64_t json;
    uint8_t *file;
    if (len && data[0] == 0xff) {
        fuzz_catalog(data + 1, len - 1);
        return 0;
    }
    json = cut ? (uint64_t)(cut - data) : len;
    file = malloc(8 + len);
    if (!file) return 0;
    memcpy(file, &json, 8);
    if (json) memcpy(file + 8, data, (size_t)json);
    if (cut) memcpy(file + 8 + json, cut + 1, len - (size_t)json - 1);
    fuzz_catalog(file, cut ? 7 + len : 8 + len);
    free(file);
    return 0;
}
